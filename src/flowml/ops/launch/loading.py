"""Loads the flow that is meant by ``flows/train.py:training``, and the files that define flows."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from flowml.errors import nearest_or_some

if TYPE_CHECKING:
    import prefect


def load(entry: str) -> prefect.Flow[Any, Any]:
    """Load a flow, by running the file or importing the module that defines it.

    Args:
        entry: ``path.py:name`` or ``package.module:name``; without a name, the only flow that is defined there.

    Raises:
        LookupError: If there is no such file, module or flow, or no name was given and there are several.
        SystemExit: With 1, if the file itself fails; its traceback is printed.
    """
    place, name = split(entry)
    module = module_of(place) if place.endswith(".py") else _import(place)
    every = _flows(module)
    own = flows_of(module) or every
    if name is None and len(own) == 1:
        return next(iter(own.values()))
    if name is not None and (found := named(every, name)):
        return found
    if not every:
        msg = f"{place} defines no flow: no function with the decorator @flow."
    elif name is None:
        msg = f"{place} defines {len(own)} flows; name one: {', '.join(f'{place}:{key}' for key in own)}."
    else:
        msg = f"{place} has no flow {name!r}. {nearest_or_some(name, list(own))}"
    raise LookupError(msg)


def split(entry: str) -> tuple[str, str | None]:
    """Split what names a flow into the file or module and the flow's name, which may be left out."""
    place, colon, name = entry.rpartition(":")
    return (place, name) if colon and not entry.endswith(".py") else (entry, None)


def run_file(path: str | Path) -> ModuleType:
    """Run a file that defines flows; one that is loaded already, such as by another file that imports it, is taken.

    Raises:
        ScriptError: If it fails; its own error is the cause.
    """
    from prefect.exceptions import ScriptError
    from prefect.utilities.importtools import load_script_as_module

    file = Path(path).resolve()
    if there := _modules_of(file):
        return next(iter(there.values()))
    try:
        return load_script_as_module(str(path))
    except ScriptError:
        for name in _modules_of(file):
            del sys.modules[name]  # it is not whole
        raise


def flows_of(module: ModuleType) -> dict[str, prefect.Flow[..., Any]]:
    """Return the flows that are written in a module, by their variables; those that it imports are left out."""
    file = Path(getattr(module, "__file__", None) or "").resolve()  # a package of several folders has none
    return {name: flow for name, flow in _flows(module).items() if file_of(flow) == file}


def named(flows: Mapping[str, prefect.Flow[..., Any]], name: str) -> prefect.Flow[..., Any] | None:
    """Return the flow of a variable of this name, or else the one that is called so."""
    return flows.get(name) or next((flow for flow in flows.values() if flow.name == name), None)


def file_of(flow: prefect.Flow[..., Any]) -> Path | None:
    """Return the file that a flow is written in."""
    code = getattr(inspect.unwrap(flow.fn), "__code__", None)
    return Path(code.co_filename).resolve() if code else None


def _flows(module: ModuleType) -> dict[str, prefect.Flow[..., Any]]:
    import prefect

    return {name: thing for name, thing in vars(module).items() if isinstance(thing, prefect.Flow)}


def _modules_of(file: Path) -> dict[str, ModuleType]:
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name != "__main__" and getattr(module, "__file__", None) and Path(str(module.__file__)) == file
    }


def module_of(path: str) -> ModuleType:
    """Run a file that defines flows, for a command.

    Raises:
        LookupError: If there is no such file.
        SystemExit: With 1, if the file itself fails; its traceback is printed.
    """
    from prefect.exceptions import ScriptError

    if not Path(path).is_file():
        folder = Path(path).parent
        there = sorted(str(file) for file in folder.glob("*.py")) if folder.is_dir() else []
        msg = f"There is no file {path}. {nearest_or_some(path, there)}"
        raise LookupError(msg)
    try:
        return run_file(path)
    except ScriptError as error:
        _fail(path, error.user_exc)


def _import(name: str) -> ModuleType:
    if not all(name.split(".")):
        msg = f"{name!r} names neither a file nor a module; name a flow as flows/train.py:training."
        raise LookupError(msg)
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            _fail(name, error)  # something that it imports
        msg = f"There is no module {name!r}, nor a file; a file is named with its ending, as in {name}.py."
        raise LookupError(msg) from None
    except Exception as error:  # noqa: BLE001 - of the user's code
        _fail(name, error)


def _fail(place: str, error: BaseException) -> NoReturn:
    sys.stderr.write("".join(traceback.format_exception(error)))
    sys.stderr.write(f"flowml: {place} failed when it was loaded, see above.\n")
    sys.exit(1)
