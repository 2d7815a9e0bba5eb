"""Writes a flow as a project of MLflow: an entry point, and the Python and packages that it takes."""

from __future__ import annotations

import inspect
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowml.capture.engine.attempt import hints_of
from flowml.ops import output
from flowml.ops.launch.loading import flows_of, load, module_of, split
from flowml.ops.launch.parameters import typed
from flowml.provenance.packages import lock
from flowml.provenance.parameters import parameters

if TYPE_CHECKING:
    import prefect

_PROJECT, _ENVIRONMENT = "MLproject", "python_env.yaml"
_NUMBERS = {int, float}


def export(entry: str, folder: Path) -> None:
    """Write ``MLproject`` and ``python_env.yaml``; entry points of other flows that are there already stay.

    Args:
        entry: The flow, as `load` takes it; without a name, all that the file defines.
        folder: The project's folder.

    Raises:
        LookupError: If there is no such flow, its file is elsewhere, or a file that is there cannot be read.
    """
    import yaml

    folder = folder.resolve()
    if not folder.is_dir():
        msg = f"--to cannot be {str(folder)!r}: there is no such folder."
        raise LookupError(msg)
    place, flows = _flows(entry)
    named = _named_from(place, folder)
    project = _there(folder / _PROJECT)
    points = project.setdefault("entry_points", {})
    for name, flow in flows.items():
        points[name] = _entry_point(f"{named}:{name}", flow)
    project = {"name": folder.name, "python_env": _ENVIRONMENT, **project}
    environment = folder / _ENVIRONMENT
    if environment.exists():
        output.note(f"{environment} is there, and stays as it is.")
    else:
        _write(environment, yaml.safe_dump(_environment(folder), sort_keys=False))
    _write(folder / _PROJECT, yaml.safe_dump(project, sort_keys=False, width=1000))
    for name in flows:
        output.say(f"mlflow run {folder} -e {name}")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}."
        raise LookupError(msg) from None


def _flows(entry: str) -> tuple[str, dict[str, prefect.Flow[..., Any]]]:
    """Load the flows that are meant, by their variables."""
    place, name = split(entry)
    if name is not None:
        return place, {name: load(entry)}
    if not place.endswith(".py"):
        msg = f"{entry!r} names no flow: name one as flows/train.py:training, or all of a file as flows/train.py."
        raise LookupError(msg)
    flows = flows_of(module_of(place))
    if not flows:
        msg = f"{place} defines no flow: no function with the decorator @flow."
        raise LookupError(msg)
    return place, flows


def _named_from(place: str, folder: Path) -> str:
    """Name a file as it is called in the project's folder; a module stays what it is."""
    if not place.endswith(".py"):
        return place
    file = Path(place).resolve()
    if not file.is_relative_to(folder):
        msg = f"The file {file} is not in {folder}, which would be the project. Name a folder that it is in with --to."
        raise LookupError(msg)
    return file.relative_to(folder).as_posix()


def _there(path: Path) -> dict[str, Any]:
    """Read a project that is there already."""
    import yaml

    try:
        found = yaml.safe_load(path.read_text("utf-8")) if path.exists() else {}
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        msg = f"{path} is there and cannot be read: {error}"
        raise LookupError(msg) from None
    if not isinstance(found, dict) or not isinstance(found.get("entry_points", {}), dict):
        msg = f"{path} is there, and is no project of MLflow."
        raise LookupError(msg)  # noqa: TRY004 - of a file, for people
    return found


def _entry_point(entry: str, flow: prefect.Flow[..., Any]) -> dict[str, Any]:
    hints, found, words = hints_of(flow.fn), dict[str, Any](), list[str]()
    for name, one in inspect.signature(flow.fn).parameters.items():
        if one.kind in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
            continue
        hint = hints.get(name, Any)
        if one.default is inspect.Parameter.empty:
            found[name] = {"type": _type(hint)}
        else:
            default = _default(name, one.default, hint, hints)
            if default is None:
                output.note(f"{name}: its default has no text that stands for it; the flow's own is taken.")
                continue
            found[name] = {"type": "float" if hint in _NUMBERS else "string", "default": default}
        words.append(f"--param {name}={{{name}}}")
    command = " ".join(["python -m flowml run", entry, *words])
    return {**({"parameters": found} if found else {}), "command": command}


def _type(hint: Any) -> str:
    """Name a type as MLflow does; of a path it makes an absolute one, and fetches what is elsewhere."""
    if hint in _NUMBERS:
        return "float"
    return "path" if isinstance(hint, type) and issubclass(hint, Path) else "string"


def _default(name: str, value: Any, hint: Any, hints: Mapping[str, Any]) -> str | None:
    """Return a default as it is typed for ``--param``; None if no text means it, or it is a secret."""
    found = parameters({name: value}, {name: value}, hints)
    if name not in found.values or found.masked:
        return None
    plain = found.values[name]
    for text in [plain] if isinstance(plain, str) else []:
        if _means(name, text, hint, value):
            return text
    text = json.dumps(plain)
    return text if _means(name, text, hint, value) else None


def _means(name: str, text: str, hint: Any, value: Any) -> bool:
    try:
        return bool(typed(name, text, hint) == value)
    except (LookupError, ValueError, TypeError):
        return False


def _environment(folder: Path) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "build_dependencies": ["pip"],
        "dependencies": [line.partition("  #")[0] for line in lock(folder).splitlines()],
    }
