"""One MLflow run for each tracked call: found its parent, created, written, closed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol

from flowml import records, settings
from flowml.store import active
from flowml.store.connection import Connection, connect
from flowml.store.trouble import explained

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

    from flowml.options import Track


class Run(Protocol):
    """Where the records of one call go."""

    info: records.CurrentRun | None
    """Which MLflow run it is; None when there is none."""

    def put(self, found: Iterable[records.Record]) -> None:
        """Log records."""

    def active(self) -> AbstractContextManager[None]:
        """Make it the run that plain ``mlflow.*`` calls go to."""

    def close(self, status: records.Status, ended: int) -> None:
        """End it, at a time in milliseconds since 1970; all its records are in MLflow afterwards."""


class _NoRun:
    """Accepts everything and does nothing: for calls that are not tracked, or whose run could not be opened."""

    info: records.CurrentRun | None = None

    def put(self, found: Iterable[records.Record]) -> None:
        """Log nothing."""

    def active(self) -> AbstractContextManager[None]:
        """Leave MLflow's active run as it is."""
        return nullcontext()

    def close(self, status: records.Status, ended: int) -> None:
        """End nothing."""


NO_RUN: Run = _NoRun()


class _OwnRun:
    """A run of its own in MLflow."""

    info: records.CurrentRun | None

    def __init__(self, connection: Connection, entity: MlflowRun, root_run_id: str | None, *, rolls_up: bool) -> None:
        self._connection = connection
        self._id, self._experiment_id = str(entity.info.run_id), str(entity.info.experiment_id)
        self._stack = active.Stack(entity)
        self._rolls_up = rolls_up
        page = connection.page_of(self._experiment_id, self._id)
        self.info = records.CurrentRun(self._id, self._experiment_id, root_run_id or self._id, page)

    def put(self, found: Iterable[records.Record]) -> None:
        """Hand the records to the store's writer."""
        self._connection.writer.put(self._id, self._experiment_id, found)

    def active(self) -> AbstractContextManager[None]:
        """Make this run the active one in this context."""
        return active.activated(self._stack)

    def close(self, status: records.Status, ended: int) -> None:
        """Send what is left and end the run, and those that the user's code left open below it."""
        self._stack.close_what_was_left_open(status)
        self._connection.writer.close(self._id, self._experiment_id, status, ended, rolls_up=self._rolls_up)


class _ParentsRun:
    """The caller's run, for a call with ``Track(run="parent")``: its records go there, and closing leaves it open."""

    def __init__(self, parent: Run) -> None:
        self.info = parent.info
        self.put = parent.put
        self.active = nullcontext

    def close(self, status: records.Status, ended: int) -> None:
        """Leave it to the caller."""


def open_run(identity: records.Identity, *, track: Track, parent: Run | None) -> Run:
    """Open the run of one call.

    Args:
        identity: Whose run it is.
        track: How it is tracked.
        parent: The run of the call it was made in; None for the outermost.

    Returns:
        The run; that of the parent, or one that ignores everything, where ``track`` or the parent says so.

    Raises:
        TrackingError: If MLflow cannot be reached or refuses.
    """
    if parent is None:
        return _open_root(identity, track)
    if parent.info is None:
        return NO_RUN
    if track.run == "parent":
        return _ParentsRun(parent)
    return _create(connect(), identity, track, parent.info.experiment_id, parent.info)


def _open_root(identity: records.Identity, track: Track) -> Run:
    connection = connect()
    outer = active.users_run() if settings.current().adopt_active_run else None
    if outer is not None:
        run_id, experiment_id = outer.info.run_id, outer.info.experiment_id
        root_run_id = outer.data.tags.get("flowml.root_run_id", run_id)
        above = records.CurrentRun(run_id, experiment_id, root_run_id, connection.page_of(experiment_id, run_id))
        return _create(connection, identity, track, experiment_id, above)
    experiment_id = _experiment_of(connection, identity, track)
    return _reopened(connection, identity, experiment_id) or _create(connection, identity, track, experiment_id, None)


def _experiment_of(connection: Connection, identity: records.Identity, track: Track) -> str:
    """Choose: this flow's option, flowml's setting, what the user told MLflow, the flow's name."""
    name = track.experiment or settings.current().experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if name:
        return connection.experiment_id(name)
    return active.users_experiment_id() or connection.experiment_id(identity.owner)


def _reopened(connection: Connection, identity: records.Identity, experiment_id: str) -> Run | None:
    """Return the run that an earlier attempt of this flow run has, if it is a later one."""
    flow_run_id = identity.tags.get("prefect.flow_run_id")
    if identity.kind != "flow" or identity.attempt == 1 or flow_run_id is None:
        return None
    client = connection.client
    mine = f"tags.`prefect.flow_run_id` = '{flow_run_id}' and tags.`flowml.kind` = 'flow'"
    with explained(connection.uri):
        found = client.search_runs([experiment_id], mine, max_results=1)
        if not found:
            return None
        client.update_run(found[0].info.run_id, status="RUNNING")
        client.set_tag(found[0].info.run_id, "flowml.attempt", str(identity.attempt))
    return _OwnRun(connection, found[0], None, rolls_up=True)


def _create(
    connection: Connection,
    identity: records.Identity,
    track: Track,
    experiment_id: str,
    above: records.CurrentRun | None,
) -> Run:
    tags = {**_process_tags(), **identity.tags, **track.tags}
    tags |= {"flowml.kind": identity.kind, "flowml.attempt": str(identity.attempt)}
    if identity.source:
        tags["mlflow.source.name"] = identity.source
    if above:
        tags |= {"mlflow.parentRunId": above.run_id, "flowml.root_run_id": above.root_run_id}
    entity = connection.writer.create(experiment_id, identity.name, tags)
    run = _OwnRun(connection, entity, above.root_run_id if above else None, rolls_up=identity.kind == "flow")
    if above is None:
        run.put([records.Tag("flowml.root_run_id", entity.info.run_id)])
    return run


@cache
def _process_tags() -> Mapping[str, str]:
    """Return the tags that are the same for every run of this process: user, source, commit, flowml's version."""
    from mlflow.tracking.context.registry import resolve_tags

    return {**resolve_tags(), "flowml.version": version("prefect-flowml")}
