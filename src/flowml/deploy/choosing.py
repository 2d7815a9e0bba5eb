"""Which deployments a command is about: those that files declare, or the one that its options describe."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowml.deploy import parameters as flow_parameters
from flowml.deploy import sources
from flowml.deploy.deployment import Deployment
from flowml.deploy.finding import entrypoint, in_places
from flowml.deploy.schedules import chosen
from flowml.errors import DeploymentError, listed, nearest

FOLDER = "flows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the options of ``flowml deploy`` say; None and nothing where they are left out."""

    name: str | None = None
    cron: str | None = None
    interval: str | None = None
    rrule: str | None = None
    timezone: str | None = None
    param: tuple[str, ...] = ()
    work_pool: str | None = None
    tag: tuple[str, ...] = ()
    concurrency_limit: int | None = None
    tracking_uri: str | None = None
    registry_uri: str | None = None
    source: str | None = None


def to_deploy(places: list[str], options: Options) -> list[Deployment]:
    """Return the deployments that ``flowml deploy`` is about.

    Args:
        places: Files, folders, or ``file.py:flow``. Default: the folder ``flows``.
        options: Of one deployment, or where they differ from what the files declare.

    Raises:
        DeploymentError: If there are none, or the options cannot be.
    """
    places = places or [_folder()]
    if options.name is None:
        return [_changed(one, options, one.flow) for one in unique(_declared(places))]
    if len(places) != 1 or ".py" not in places[0]:
        msg = f"--name {options.name} is about one flow; name it, such as flows/train.py:training."
        raise DeploymentError(msg)
    found, flow = entrypoint(places[0])
    if flow is None:
        if len(found.flows) != 1:
            one = next(iter(found.flows), "flow")
            msg = f"{places[0]} holds {listed(found.flows)}; name one, such as {places[0]}:{one}."
            raise DeploymentError(msg)
        (flow,) = found.flows.values()
    declared = [one for one in found.deployments if one.flow is flow and one.name == options.name]
    return [_changed(declared[0], options, flow) if declared else _changed(None, options, flow)]


def to_serve(places: list[str]) -> list[Deployment]:
    """Return the deployments that ``flowml serve`` is about; a flow that declares none is served under its file's name.

    Raises:
        DeploymentError: If there are none.
    """
    wanted: list[Deployment] = []
    for place in places or [_folder()]:
        if ".py:" in place:
            file, flow = entrypoint(place)
            own = [one for one in file.deployments if one.flow is flow]
            wanted += own or ([Deployment(flow, file.file.stem)] if flow else [])
            continue
        for file in in_places([place]):
            wanted += file.deployments
            served = {id(one.flow) for one in file.deployments}
            wanted += [
                Deployment(flow, file.file.stem) for flow in _once(file.flows.values()) if id(flow) not in served
            ]
    return unique(wanted)


def unique(deployments: Iterable[Deployment]) -> list[Deployment]:
    """Return deployments without what is named twice.

    Raises:
        DeploymentError: If two have the same name.
    """
    found: dict[str, Deployment] = {}
    for one in deployments:
        other = found.setdefault(one.full_name, one)
        if other is not one:
            files = {sources.whereabouts(both.flow)[0].name for both in (one, other)}
            msg = f"Two deployments are called {one.full_name!r} (in {listed(files)}); give one of them another name."
            raise DeploymentError(msg)
    return list(found.values())


def _declared(places: list[str]) -> list[Deployment]:
    found: list[Deployment] = []
    for place in places:
        if ".py:" in place:
            file, flow = entrypoint(place)
            found += [one for one in file.deployments if one.flow is flow]
        else:
            found += [one for file in in_places([place]) for one in file.deployments]
    if not found:
        msg = (
            f"{listed(places)} declares no deployment. Give one a name here (--name nightly), or declare it beside the "
            'flow: nightly = flowml.Deployment(training, "nightly", schedule=flowml.Cron("0 2 * * *")).'
        )
        raise DeploymentError(msg)
    return found


def _changed(declared: Deployment | None, options: Options, flow: Any) -> Deployment:
    schedule = chosen(options.cron, options.interval, options.rrule, options.timezone)
    said: dict[str, Any] = {
        "schedule": schedule,
        "work_pool": options.work_pool,
        "tags": options.tag or None,
        "concurrency_limit": options.concurrency_limit,
        "tracking_uri": options.tracking_uri,
        "registry_uri": options.registry_uri,
        "source": options.source,
    }
    said = {option: value for option, value in said.items() if value is not None}
    if options.param:
        before = declared.parameters if declared else {}
        said["parameters"] = {**before, **flow_parameters.read(options.param, flow_parameters.schema_of(flow))}
    if declared:
        return dataclasses.replace(declared, **said) if said else declared
    return Deployment(flow, str(options.name), **said)


def _folder() -> str:
    if not Path(FOLDER).is_dir():
        near = nearest(FOLDER, [one.name for one in Path.cwd().iterdir()])
        msg = f"There is no folder {FOLDER!r} here{near}; name files or folders."
        raise DeploymentError(msg)
    return FOLDER


def _once(flows: Iterable[Any]) -> list[Any]:
    return list({id(flow): flow for flow in flows}.values())
