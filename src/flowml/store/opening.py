"""Opens the run of a call: under its caller's, or as a root in the experiment that was chosen."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from flowml import markdown, records, settings
from flowml.store import active, process
from flowml.store.connection import Connection, connect, uses_mlflows_own
from flowml.store.ending import NOTE
from flowml.store.folded import FoldedRun
from flowml.store.leftovers import End, close_with_those_below
from flowml.store.outgoing import NewRun, Outgoing
from flowml.store.runs import NO_RUN, JoinedRun, OwnRun, ParentsRun, Run, joined

if TYPE_CHECKING:
    from flowml.options import Track


def open_run(identity: records.Identity, *, track: Track, parent: Run | None, follows: Run | None = None) -> Run:
    """Open the run of one call.

    Args:
        identity: Whose run it is.
        track: How it is tracked.
        parent: The run of the call it was made in; None for the outermost.
        follows: The run of the attempt before this one, if there was one.

    Returns:
        The run; that of the parent, or one that ignores everything, where ``track`` or the parent says so.

    Raises:
        TrackingError: If MLflow cannot be reached.
    """
    opening, is_flow = _Opening(identity, track, _outgoing_of(follows)), identity.kind == "flow"
    if parent is None:
        return _open_root(opening)
    if parent is NO_RUN:
        return NO_RUN
    if track.run == "parent":
        return ParentsRun(parent)
    under = parent.under if isinstance(parent, FoldedRun) else parent
    # A flow that another process calls keeps its run: Prefect's runner closes it by that.
    if isinstance(under, JoinedRun) and under.children != "all" and (isinstance(under, OwnRun) or not is_flow):
        return FoldedRun(under, identity, partial(opening.create, under.connection, under))
    if isinstance(under, JoinedRun):
        return opening.create(under.connection, under)
    return NO_RUN if under.info is None else opening.create(connect(), joined(connect(), under.info))


def _outgoing_of(run: Run | None) -> Outgoing | None:
    run = run.opened if isinstance(run, FoldedRun) else run
    return run.out if isinstance(run, OwnRun) else None


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
    if caller.tag is None:
        return joined(connection, caller.run, caller.children)
    found = _started_by(connection, caller)
    return joined(connection, found, caller.children) if found else joined(connection, caller.run)


def close_left_open(caller: records.Caller, end: End) -> None:
    """Close the run of a call in another process that is gone, and what is open below it.

    Args:
        caller: What it told.
        end: How they end.

    Raises:
        TrackingError: If its MLflow cannot be reached.
    """
    if caller.run is not None:
        connection = connect(caller.tracking_uri, caller.registry_uri)
        connection.writer.ask(partial(close_with_those_below, connection.client, caller.run, end))


def _started_by(connection: Connection, caller: records.Caller) -> records.CurrentRun | None:
    """Find the run of which only a tag is known; it may be created at this very moment."""
    if caller.run is None or caller.tag is None:
        return None
    key, value = caller.tag
    experiment_id, mine = caller.run.experiment_id, f"tags.`{key}` = '{value}'"
    if key == "prefect.flow_run_id":
        mine += " and tags.`flowml.kind` = 'flow'"  # its tasks have the id too
    search = partial(
        connection.client.search_runs, [experiment_id], mine, order_by=["attributes.start_time DESC"], max_results=1
    )
    until = time.monotonic() + settings.current().timeout
    while not (found := connection.writer.ask(search)) and time.monotonic() < until:
        time.sleep(0.05)
    return dataclasses.replace(caller.run, run_id=found[0].info.run_id, url=None) if found else None


def _open_root(opening: _Opening) -> Run:
    outer = active.users_run() if settings.current().adopt_active_run and uses_mlflows_own() else None
    chosen = active.users_experiment_id() if uses_mlflows_own() else None
    connection = connect()
    if outer is not None:
        run_id, experiment_id = outer.info.run_id, outer.info.experiment_id
        users = joined(connection, records.CurrentRun(run_id, experiment_id, run_id, None))
        return opening.create(connection, users, lambda: experiment_id)
    # This flow's option, flowml's setting, what the user told MLflow, the flow's name.
    name = opening.track.experiment or settings.current().experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if name is None and chosen is not None:
        return opening.create(connection, None, lambda: chosen)
    return opening.create(connection, None, partial(connection.experiment_id, name or opening.identity.owner))


@dataclasses.dataclass(frozen=True, slots=True)
class _Opening:
    """A run of its own that is to be opened for a call."""

    identity: records.Identity
    track: Track
    follows: Outgoing | None

    def create(
        self, connection: Connection, above: JoinedRun | None, experiment: Callable[[], str] | None = None
    ) -> OwnRun:
        """Let the sender create it: under a run, or in the experiment that is asked for then."""
        identity, is_flow = self.identity, self.identity.kind == "flow"
        tags = {**_process_tags(), **_way_back(identity), **identity.tags, **self.track.tags}
        tags |= {"flowml.kind": identity.kind, "flowml.attempt": str(identity.attempt)}
        if is_flow or not isinstance(above, OwnRun) or above.pid != os.getpid():  # the others are in their process
            tags |= process.tags()
        if identity.source:
            tags["mlflow.source.name"] = identity.source
        new = NewRun(
            name=identity.name,
            tags=tags,
            started=identity.started,
            experiment=experiment,
            is_root=experiment is not None,
            above=above.out if above else None,
            reopens=identity.tags.get("prefect.flow_run_id") if identity.goes_on else None,
            follows=None if is_flow else self.follows,
        )
        root = (above.out.root or above.out) if isinstance(above, OwnRun) else None
        return OwnRun(connection, Outgoing(new, root), above, identity=identity, children=self.track.children)


def _way_back(identity: records.Identity) -> Mapping[str, str]:
    """Return a task's run's note, which leads to Prefect: MLflow's UI shows tags as text; a flow's comes at its end."""
    page = identity.tags.get("prefect.task_run_url") if identity.kind == "task" else None
    return {NOTE: markdown.link("Task run in Prefect", page)} if page else {}


@cache
def _process_tags() -> Mapping[str, str]:
    """Return the tags that are the same for every run of this process: user, source, commit, flowml's version."""
    from mlflow.tracking.context.registry import resolve_tags

    same = {tag: value for tag, value in resolve_tags().items() if not tag.startswith(("prefect.", "flowml."))}
    return {**same, "flowml.version": version("prefect-flowml")}
