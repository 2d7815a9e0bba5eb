"""One MLflow run for each tracked call: found its parent, created, written, closed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol

from flowml import records, settings
from flowml.store import active
from flowml.store.connection import Connection, connect
from flowml.store.trouble import explained, without_credentials

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

    def as_caller(self) -> records.Caller:
        """Tell what calls in other processes need, to hang under it."""

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

    def as_caller(self) -> records.Caller:
        """Tell that nothing is tracked here."""
        return records.Caller(None, "")

    def close(self, status: records.Status, ended: int) -> None:
        """End nothing."""


NO_RUN: Run = _NoRun()


class _JoinedRun:
    """A run that another process opened, and will close."""

    info: records.CurrentRun | None

    def __init__(
        self, connection: Connection, info: records.CurrentRun, entity: Callable[[], MlflowRun] | None = None
    ) -> None:
        self.info = info
        self.connection = connection
        self._told = info
        self._stack = active.Stack(info, entity or (lambda: connection.client.get_run(info.run_id)))

    def put(self, found: Iterable[records.Record]) -> None:
        """Hand the records to the store's writer."""
        self.connection.writer.put(self._told.run_id, self._told.experiment_id, found)

    def active(self) -> AbstractContextManager[None]:
        """Make this run the active one in this context."""
        return active.activated(self._stack)

    def as_caller(self) -> records.Caller:
        """Tell of this run and its store."""
        return records.Caller(self.info, without_credentials(self.connection.uri), self.connection.registry_uri)

    def close(self, status: records.Status, ended: int) -> None:  # noqa: ARG002 - the one who opened it says when
        """Send what is left; ending it is for whoever opened it."""
        self._stack.close_what_was_left_open(status)
        self.connection.writer.flush(self._told.run_id)


class _OwnRun(_JoinedRun):
    """A run of its own in MLflow."""

    def __init__(self, connection: Connection, entity: MlflowRun, root_run_id: str | None, *, rolls_up: bool) -> None:
        run_id, experiment_id = str(entity.info.run_id), str(entity.info.experiment_id)
        page = connection.page_of(experiment_id, run_id)
        super().__init__(
            connection, records.CurrentRun(run_id, experiment_id, root_run_id or run_id, page), lambda: entity
        )
        self._rolls_up = rolls_up

    def close(self, status: records.Status, ended: int) -> None:
        """Send what is left and end the run, and those that the user's code left open below it."""
        self._stack.close_what_was_left_open(status)
        told = self._told
        self.connection.writer.close(told.run_id, told.experiment_id, status, ended, rolls_up=self._rolls_up)


class _ParentsRun:
    """The caller's run, for a call with ``Track(run="parent")``: its records go there, and closing leaves it open."""

    def __init__(self, parent: Run) -> None:
        self.info = parent.info
        self.put = parent.put
        self.active = parent.active
        self.as_caller = parent.as_caller
        self._parent = parent

    def close(self, status: records.Status, ended: int) -> None:
        """Leave it to the caller; send what is left only if the caller is elsewhere."""
        if not isinstance(self._parent, _OwnRun):
            self._parent.close(status, ended)


def join(caller: records.Caller) -> Run:
    """Return the run of a call in another process.

    Args:
        caller: What it told.

    Returns:
        The run, to hang others under; one that ignores everything if nothing is tracked there.

    Raises:
        TrackingError: If its MLflow cannot be reached.
    """
    if caller.run is None:
        return NO_RUN
    connection = connect(caller.tracking_uri, caller.registry_uri)
    return _JoinedRun(connection, _started_by(connection, caller) or caller.run)


def _started_by(connection: Connection, caller: records.Caller) -> records.CurrentRun | None:
    """Find the run of a task of which only the Prefect id is known."""
    if caller.run is None or caller.task_run_id is None:
        return None
    experiment_id, mine = caller.run.experiment_id, f"tags.`prefect.task_run_id` = '{caller.task_run_id}'"
    with explained(connection.uri):
        found = connection.client.search_runs([experiment_id], mine, max_results=1)
    if not found:
        return None
    run_id = found[0].info.run_id
    return dataclasses.replace(caller.run, run_id=run_id, url=connection.page_of(experiment_id, run_id))


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
    connection = parent.connection if isinstance(parent, _JoinedRun) else connect()
    return _create(connection, identity, track, parent.info.experiment_id, parent.info)


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

    same = {tag: value for tag, value in resolve_tags().items() if not tag.startswith(("prefect.", "flowml."))}
    return {**same, "flowml.version": version("prefect-flowml")}
