"""Loads the flow that is meant by ``flows/train.py:training``."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from flowml.nearest import nearest_or_some

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
    import prefect

    place, name = _split(entry)
    module = _run(place) if place.endswith(".py") else _import(place)
    flows = {key: value for key, value in vars(module).items() if isinstance(value, prefect.Flow)}
    own = {key: flow for key, flow in flows.items() if getattr(flow.fn, "__module__", None) == module.__name__} or flows
    if name is None and len(own) == 1:
        return next(iter(own.values()))
    if name in flows:
        return flows[name]
    if not flows:
        msg = f"{place} defines no flow: no function with the decorator @flow."
    elif name is None:
        msg = f"{place} defines {len(own)} flows; name one: {', '.join(f'{place}:{key}' for key in own)}."
    else:
        msg = f"{place} has no flow {name!r}. {nearest_or_some(name, list(own))}"
    raise LookupError(msg)


def _split(entry: str) -> tuple[str, str | None]:
    if entry.endswith(".py"):
        return entry, None
    place, colon, name = entry.rpartition(":")
    return (place, name) if colon else (entry, None)


def _run(path: str) -> ModuleType:
    from prefect.exceptions import ScriptError
    from prefect.utilities.importtools import load_script_as_module

    if not Path(path).is_file():
        folder = Path(path).parent
        there = sorted(str(file) for file in folder.glob("*.py")) if folder.is_dir() else []
        msg = f"there is no file {path}. {nearest_or_some(path, there)}"
        raise LookupError(msg)
    try:
        return load_script_as_module(path)
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
        msg = f"there is no module {name!r}, nor a file; a file is named with its ending, as in {name}.py."
        raise LookupError(msg) from None
    except Exception as error:  # noqa: BLE001 - of the user's code
        _fail(name, error)


def _fail(place: str, error: BaseException) -> NoReturn:
    sys.stderr.write("".join(traceback.format_exception(error)))
    sys.stderr.write(f"flowml: {place} failed when it was loaded, see above.\n")
    sys.exit(1)
