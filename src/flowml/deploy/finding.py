"""Finds flows, and the deployments declared beside them, in files and folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from flowml.deploy.deployment import Deployment
from flowml.errors import DeploymentError, listed, nearest
from flowml.ops.launch import loading

if TYPE_CHECKING:
    import prefect


@dataclass(frozen=True, slots=True)
class Found:
    """What one file holds.

    Attributes:
        file: The file.
        flows: The flows written in it, by the name of their variable.
        deployments: The deployments declared in it.
    """

    file: Path
    flows: Mapping[str, prefect.Flow[..., Any]]
    deployments: list[Deployment]


def in_places(places: Iterable[str]) -> list[Found]:
    """Load files, and those of folders, and return what they hold.

    Args:
        places: Files and folders. Of a folder those that end with .py and do not begin with an underscore.

    Raises:
        DeploymentError: If one does not exist, cannot be loaded, or there is no flow at all.
    """
    found = [in_file(file) for file in dict.fromkeys(_files(places))]
    if not any(one.flows or one.deployments for one in found):
        msg = f"There is no flow in {listed(str(place) for place in places)}."
        raise DeploymentError(msg)
    return found


def in_file(file: Path) -> Found:
    """Load one file and return what it holds.

    Raises:
        DeploymentError: If it cannot be loaded.
    """
    module = _loaded(file)
    declared = {id(one): one for one in vars(module).values() if isinstance(one, Deployment)}
    return Found(file, loading.flows_of(module), list(declared.values()))


def entrypoint(text: str) -> tuple[Found, prefect.Flow[..., Any] | None]:
    """Find what ``file.py:flow`` names; of a file alone, no flow.

    Raises:
        DeploymentError: If the file or the flow does not exist.
    """
    place, name = loading.split(text)
    found = in_places([place])
    if name is None:
        msg = f"{text} is a folder with several files; name one."
        if len(found) > 1:
            raise DeploymentError(msg)
        return found[0], None
    known = found[0].flows
    if flow := loading.named(known, name):
        return found[0], flow
    msg = f"There is no flow {name!r} in {place}{nearest(name, known)}; it holds {listed(known)}."
    raise DeploymentError(msg)


def _files(places: Iterable[str]) -> Iterator[Path]:
    for place in places:
        path = Path(place).resolve()
        if path.is_dir():
            yield from sorted(file for file in path.glob("*.py") if not file.name.startswith("_"))
        elif path.is_file() and path.suffix == ".py":
            yield path
        else:
            near = nearest(path.name, [one.name for one in path.parent.glob("*")]) if path.parent.is_dir() else ""
            msg = f"There is no file or folder {place!r} with flows{near}."
            raise DeploymentError(msg)


def _loaded(file: Path) -> ModuleType:
    from prefect.exceptions import ScriptError

    try:
        return loading.run_file(file)
    except ScriptError as error:
        cause = error.user_exc
        if isinstance(cause, DeploymentError):
            msg = f"In {file.name}: {cause}"
            raise DeploymentError(msg) from None
        msg = f"{file} cannot be loaded: {type(cause).__name__}: {cause}"
        raise DeploymentError(msg) from cause
