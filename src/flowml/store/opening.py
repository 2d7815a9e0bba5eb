"""Opens the run of a call: under its caller's, or as a root in the experiment that was chosen."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from flowml import formats, mlflow_limits, process, records, settings
from flowml.storable import clean, legal_key
from flowml.store import dag_run
from flowml.store.backend import mlflow_state
from flowml.store.backend.connection import Connection, Reached, connect
from flowml.store.backend.in_force import uses_mlflows_own
from flowml.store.backend.retrying import may_pass
from flowml.store.backend.urls import NOTE
from flowml.store.by_hand import active, fluent
from flowml.store.destination import Destination
from flowml.store.flow_end.orphans import End, close_with_those_below
from flowml.store.journal.background import send_what_was_left
from flowml.store.lazy_store import LazyStore
from flowml.store.own_run import JoinedRun, OwnRun, is_elsewhere, joined
from flowml.store.parent_run import process_tags, run_of
from flowml.store.runs import NO_RUN, ParentsRun, Run
from flowml.store.sending.writer import writer_of
from flowml.store.summarized_run import SummarizedRun
from flowml.store.waiting.delay import Delay, delay_below
from flowml.store.waiting.queue import Experiment, NewRun, Outgoing

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

    from flowml.options import Track


def open_run(  # noqa: PLR0913 - each is given by its name
    identity: records.Identity,
    *,
    track: Track,
    experiment: str | None = None,
    parent: Run | None,
    follows: Run | None = None,
    reached: Reached | None = None,
) -> Run:
    """Open the run of one call.

    Args:
        identity: Whose run it is.
        track: How it is tracked.
        experiment: The name of the experiment that its option gives, if any.
        parent: The run of the call it was made in; None for the outermost.
        follows: The run of the attempt before this one, if there was one.
        reached: What came of connecting to the store in force, if that was tried already.

    Returns:
        The run; that of the parent, or one that ignores everything, where ``track`` or the parent says so.

    Raises:
        TrackingError: If MLflow cannot be reached.
    """
    opening = _Opening(identity, track, _outgoing_of(follows), experiment)
    if parent is None:
        return _open_root(opening, reached)
    if parent is NO_RUN:
        return NO_RUN
    return ParentsRun(parent) if track.run == "parent" else _open_below(opening, parent)


def _open_below(opening: _Opening, parent: Run) -> Run:
    is_flow, experiment = opening.identity.kind == "flow", opening.experiment
    under = parent.target
    if under is None or under.store.has_failed:
        return NO_RUN
    # A flow that another process calls keeps its run: Prefect's runner closes it by that.
    if under.children != "all" and (under.own or not is_flow):
        over = _users_run_over(under)  # asked now: that run may be over when this one is opened, if it ever is
        return SummarizedRun(under, opening.identity, partial(opening.create, under.store, under, over=over))
    if is_flow and experiment:
        return opening.create(under.store, under, lambda: Experiment(None, experiment))
    return opening.create(under.store, under, over=_users_run_over(under))


def _users_run_over(under: JoinedRun) -> Outgoing | None:
    """Return the run that the user's code has open around the call, if it is one that the call can hang under.

    A run that is open around the caller itself is further out: the call hangs under its caller.
    """
    users = active.innermost_of_users()
    if users is None or users in under.stack.around or under.store.is_open:
        return None
    own, info = under.info, users.run.info
    if (
        mlflow_state.absolute(users.uri) != under.connection.uri
        or own is None
        or info.experiment_id != own.experiment_id
    ):
        return None
    if under.own:
        under.own.also_below(str(info.run_id))
    return joined(under.store, records.CurrentRun(info.run_id, info.experiment_id, own.root_run_id, None)).out


def _outgoing_of(run: Run | None) -> Outgoing | None:
    return run.own.out if run and run.own else None


def join(caller: records.Caller) -> Run:
    """Return the run of a call in another process.

    Args:
        caller: What it told.

    Returns:
        The run, to hang others under; one that ignores everything if nothing is tracked there.

    Raises:
        TrackingError: If its MLflow cannot be reached.
    """
    if caller.run is None and caller.key is None:
        return NO_RUN
    connection = connect(caller.tracking_uri, caller.registry_uri, may_be_away=True)
    store = LazyStore.at(connection)
    if caller.run and caller.tag is None:
        return joined(store, caller.run, caller.children, caller.delay_key)
    if caller.run and (its_run := _started_by(connection, caller)):
        return joined(store, its_run, caller.children, caller.delay_key)
    if caller.key is None:
        return joined(store, caller.run) if caller.run else NO_RUN
    delay = delay_below(caller.run.run_id if caller.run else caller.key, caller.delay_key)
    out = Outgoing(None, None, found_by=caller.key, store=store.place, own_delay=delay)
    return JoinedRun(store, out, caller.children)


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
        writer_of(connection).ask(partial(close_with_those_below, connection.client, caller.run, end))


def _started_by(connection: Connection, caller: records.Caller) -> records.CurrentRun | None:
    """Find the run of which only a tag is known; it may be created at this very moment, or MLflow be away."""
    if caller.run is None or caller.tag is None:
        return None
    key, value = caller.tag
    experiment_id, mine = caller.run.experiment_id, f"tags.`{key}` = '{value}'"
    if key == "prefect.flow_run_id":
        mine += " and tags.`flowml.kind` = 'flow'"  # its tasks have the id too

    def search() -> list[MlflowRun]:
        order = ["attributes.start_time DESC"]
        return list(connection.client.search_runs([experiment_id], mine, order_by=order, max_results=1))

    until = time.monotonic() + settings.current().timeout
    writer, delay = writer_of(connection), delay_below(caller.run.run_id, caller.delay_key)
    try:
        while not (its_run := writer.ask(search, delay)) and time.monotonic() < until:
            time.sleep(0.05)
    except Exception as error:
        if settings.current().journal and (may_pass(error) or getattr(error, "waits", False)):
            return None  # it is found when MLflow is back
        raise
    return dataclasses.replace(caller.run, run_id=its_run[0].info.run_id, url=None) if its_run else None


def _open_root(opening: _Opening, reached: Reached | None) -> Run:
    outer = fluent.users_run() if settings.current().adopt_active_run and uses_mlflows_own() else None
    if outer is not None:
        run_id, experiment_id = outer.info.run_id, outer.info.experiment_id
        store = LazyStore.at(connect())
        users = joined(store, records.CurrentRun(run_id, experiment_id, run_id, None))
        return opening.create(store, users, lambda: Experiment(experiment_id), is_root=True)
    strict = (opening.track.on_error or settings.on_error()) == "raise"
    of_airflow = dag_run.of_environment() if settings.current().adopt_active_run else None
    owner = of_airflow.dag if of_airflow else opening.identity.owner
    destination = Destination(opening.experiment, owner, strict=strict, reached=reached)
    if settings.current().journal:
        send_what_was_left()
    store = LazyStore(destination)
    if of_airflow is None:
        return opening.create(store, None, destination.experiment, is_root=True)
    told = dataclasses.replace(opening.identity, tags={**opening.identity.tags, **of_airflow.tags})
    under = run_of(of_airflow, store, opening.identity.started)
    return dataclasses.replace(opening, identity=told).create(store, under, destination.experiment, is_root=True)


@dataclasses.dataclass(frozen=True, slots=True)
class _Opening:
    """A run of its own that is to be opened for a call."""

    identity: records.Identity
    track: Track
    follows: Outgoing | None
    experiment: str | None

    def create(
        self,
        store: LazyStore,
        above: JoinedRun | None,
        experiment: Callable[[], Experiment] | None = None,
        *,
        is_root: bool = False,
        over: Outgoing | None = None,
    ) -> OwnRun:
        """Let the sender create it: under a run, or in the experiment that is asked for then.

        Args:
            store: The store.
            above: The run of the call that it was made in.
            experiment: Asked for the experiment, where it is not that of the run above.
            is_root: Whether it is the outermost call's.
            over: The run that it hangs under, if that is another one.
        """
        identity, is_flow = self.identity, self.identity.kind == "flow"
        users = {legal_key(key)[: mlflow_limits.KEY]: value for key, value in self.track.tags.items()}
        tags = {**users, **process_tags(), **_way_back(identity), **identity.tags, **users}  # first, and they count
        tags |= {"flowml.kind": identity.kind, "flowml.attempt": str(identity.attempt)}
        if is_flow or above is None or is_elsewhere(above):  # the others are in their process
            tags |= process.tags()
        if identity.source:
            tags["mlflow.source.name"] = identity.source
        new = NewRun(
            name=clean(identity.name),
            tags=tags,
            started=identity.started if identity.since is None else identity.since,
            experiment=experiment,
            is_root=is_root,
            above=over or (above.out if above else None),
            reopens=identity.tags.get("prefect.flow_run_id") if identity.since is not None else None,
            follows=None if is_flow else self.follows,
        )
        root = (above.out.root or above.out) if above and above.own else None
        delay = above.out.delay if above and not is_root else Delay()
        out = Outgoing(new, root, store=store.place, own_delay=delay)
        return OwnRun(store, out, above, identity=identity, children=self.track.children)


def _way_back(identity: records.Identity) -> Mapping[str, str]:
    """Return a task's run's note, which leads to Prefect: MLflow's UI shows tags as text; a flow's comes at its end."""
    page = identity.tags.get("prefect.task_run_url") if identity.kind == "task" else None
    return {NOTE: formats.link("Task run in Prefect", page)} if page else {}
