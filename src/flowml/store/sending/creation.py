"""Creates runs in MLflow: under the run above, with the tags that lead there; or goes on in one that is there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

from flowml import process, records
from flowml.errors import TrackingError
from flowml.store import dag_run
from flowml.store.backend.mlflow_state import APART, ELSEWHERE
from flowml.store.flow_end import attempts, orphans
from flowml.store.journal.journal import TAG
from flowml.store.sending import batches, sql_insert
from flowml.store.waiting import journaled
from flowml.store.waiting.queue import Closing, Created, Experiment, NewRun, Outgoing

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from flowml.store.backend.connection import Connection

_PLAIN = re.compile(r"[\w.]{1,250}")  # a tag that MLflow takes for sure: one that it refuses must not cost the run
_PREVIOUS = "flowml.previous_run_id"  # the run of the attempt before


def create(connection: Connection, out: Outgoing, new: NewRun) -> None:
    """Create a run, with the tags it has by now; the one above is there already.

    Raises:
        Exception: What MLflow raises.
    """
    with out.creating:
        if not out.created.done():  # the user's own thread may have been faster
            known = {key: value for key, value in out.tags.items() if _PLAIN.fullmatch(key)}
            if _create(connection, out, new, known):
                out.tags = {key: value for key, value in out.tags.items() if key not in known}


def ensure(connection: Connection, out: Outgoing) -> Created:
    """Create a run in the thread of whoever needs it, and those above it, unless they are there.

    A plain ``mlflow.*`` call needs its run as soon as MLflow can create it, and not in its turn among all that is to
    be sent: what goes wrong is then MLflow's to say, as it would without flowml.

    Raises:
        TrackingError: If MLflow has refused it for good, or it is another process's and not there yet.
        Exception: What MLflow raises.
    """
    new = out.new
    if new is None and not out.created.done():
        find(connection.client, out)
    elif new is not None and not out.created.done():
        for first in (new.above, new.follows if new.follows and new.follows.new else None):
            if first:
                ensure(connection, first)
        with out.creating:
            if not out.created.done():
                _create(connection, out, new, {})  # its other tags are the sender's to send
    return out.created.result(0)


def _create(connection: Connection, out: Outgoing, new: NewRun, known: Mapping[str, str]) -> bool:
    """Create a run, or find it; tell whether it has the tags that are known: one that was there may have others."""
    client, above = connection.client, _above(new)
    experiment_id = _id_of(connection, new.experiment()) if new.experiment else above.experiment_id if above else "0"
    entity = _created_before(client, out, experiment_id) or _gone_on_with(client, out, new, experiment_id)
    is_new = entity is None
    if entity is None:
        tags = {**new.tags, **_leading(new, experiment_id), **known, TAG: out.key}
        out.was_tried = True
        entity = (_shared if new.is_shared else _new)(client, new, experiment_id, tags)
        if above and above.experiment_id != experiment_id:
            client.set_tag(above.run_id, f"{APART}{entity.info.run_id}", experiment_id)
    _was_created(out, new, str(entity.info.run_id), experiment_id, entity)
    return is_new and not new.is_shared


def _new(client: MlflowClient, new: NewRun, experiment_id: str, tags: Mapping[str, str]) -> Run:
    entity = client.create_run(experiment_id, new.started, batches.tags_of(tags), new.name)
    if not entity.info.run_id:  # MLflow's client reads an empty answer, such as a proxy's, as a run without one
        msg = "the answer to a new run holds no run; MLflow does not answer so"
        raise ConnectionError(msg)
    return entity


def _shared(client: MlflowClient, new: NewRun, experiment_id: str, tags: Mapping[str, str]) -> Run:
    """Find the run that another process made, or make it; of several that are made at once one is left."""
    key = tags[TAG]
    with dag_run.being_made(key):
        found = dag_run.find(client, experiment_id, key)
        if found:
            return dag_run.go_on(client, found)
        return dag_run.only(client, _new(client, new, experiment_id, tags))


def _id_of(connection: Connection, experiment: Experiment) -> str:
    return experiment.id or connection.experiment_id(experiment.name or "Default")


def _created_before(client: MlflowClient, out: Outgoing, experiment_id: str) -> Run | None:
    """Find the run that an earlier try made, whose answer was lost, or whose process was killed."""
    if not (out.was_tried or out.is_restored):
        return None
    found = client.search_runs([experiment_id], f"tags.`{TAG}` = '{out.key}'", _any_stage(), max_results=1)
    return found[0] if found else None


def find(client: MlflowClient, out: Outgoing) -> None:
    """Find a run that another process made, or will make.

    Raises:
        TrackingError: If it is not there yet.
        Exception: What MLflow raises.
    """
    mine, experiments = f"tags.`{TAG}` = '{out.public_key}'", client.search_experiments(_any_stage(), max_results=5000)
    found = client.search_runs([each.experiment_id for each in experiments], mine, _any_stage(), max_results=1)
    if not found:
        msg = "the run above is not in MLflow yet; its own process, or its journal, brings it."
        raise TrackingError(msg, waits=True)
    run = found[0]
    root = run.data.tags.get("flowml.root_run_id", run.info.run_id)
    with out.creating:  # the user's own thread may have been faster
        if not out.created.done():
            info = records.CurrentRun(run.info.run_id, run.info.experiment_id, root, None)
            out.created.set_result(Created(run, info))


def _any_stage() -> int:
    from mlflow.entities import ViewType

    return ViewType.ALL


def link_earlier(client: MlflowClient, out: Outgoing, earlier: Outgoing) -> None:
    """Link a run and that of the attempt before, if that is in MLflow.

    Raises:
        Exception: What MLflow raises.
    """
    if earlier.new is None and not earlier.created.done():
        with suppress(TrackingError):
            find(client, earlier)
        if earlier.created.done():  # it was sent before this one was created, which was told of its key alone
            out.tags[_PREVIOUS] = earlier.created.result(0).info.run_id
    if run_id := id_of(earlier):
        batches.send_batch(client, run_id, earlier, with_params=False)


def create_together(client: MlflowClient, group: Iterable[Outgoing]) -> None:
    """Write runs in one transaction, with all that is known of them; those of a group that can be written so.

    Raises:
        Exception: What MLflow refuses, or the database; none of them is there then.
    """
    with ExitStack() as held:
        _create_together(client, [out for out in group if _is_free(out, held)])


def _is_free(out: Outgoing, held: ExitStack) -> bool:
    """Tell whether nobody creates a run in a thread of the user's at this moment, and keep it so."""
    free = out.creating.acquire(blocking=False)
    if free:
        held.callback(out.creating.release)
    return free and not out.created.done()


def _create_together(client: MlflowClient, group: Iterable[Outgoing]) -> None:
    by_experiment: dict[str, list[tuple[Outgoing, NewRun, sql_insert.RunInsert]]] = {}
    for out in group:
        new = out.new
        above = _above(new) if new else None
        is_new = not (out.was_tried or out.is_restored)
        if new and above and is_new and not (new.experiment or new.reopens or new.follows):
            by_experiment.setdefault(above.experiment_id, []).append((out, new, _insert_of(out, new, above)))
    for experiment_id, together in by_experiment.items():
        for out, _, _ in together:
            out.was_tried = True  # a commit may be made though it seems to fail
        sql_insert.write(client, experiment_id, [insert for _, _, insert in together])
        for out, new, insert in together:
            batches.take_away(out, insert.batch)
            if insert.closing:
                out.closing, out.closed = None, True
            _was_created(out, new, insert.run_id, experiment_id, None)


def close_run(client: MlflowClient, out: Outgoing, closing: Closing) -> None:
    """Close a run; one that the user deleted meanwhile is not RUNNING for ever, and is deleted afterwards too.

    Raises:
        Exception: What MLflow raises, also of a run that was deleted.
    """
    from mlflow.exceptions import MlflowException

    run_id = out.created.result(0).info.run_id
    terminate = partial(client.set_terminated, run_id, status=closing.status, end_time=closing.ended)
    try:
        terminate()
    except MlflowException:
        info = client.get_run(run_id).info
        is_deleted = info.lifecycle_stage == "deleted"
        if is_deleted and client.get_experiment(info.experiment_id).lifecycle_stage != "deleted":
            client.restore_run(run_id)
            try:
                terminate()
            finally:
                client.delete_run(run_id)
        raise
    if out.is_late:
        orphans.take_back(client, run_id)


def id_of(out: Outgoing | None) -> str | None:
    """Return the run's id, if it was created."""
    if out is None or not out.created.done() or out.created.exception(0):
        return None
    return out.created.result(0).info.run_id


def _above(new: NewRun) -> records.CurrentRun | None:
    """Return the run above, if there is one and it was created.

    Raises:
        TrackingError: If it could not be created.
    """
    return new.above.created.result(0).info if new.above and new.above.created.done() else None


def _leading(new: NewRun, experiment_id: str) -> dict[str, str]:
    """Return the tags that lead to other runs; MLflow's UI nests a run in another experiment nowhere."""
    above, tags = _above(new), {}
    if above:
        tags["mlflow.parentRunId" if above.experiment_id == experiment_id else ELSEWHERE] = above.run_id
    if above and above.experiment_id == experiment_id and not new.is_root:
        tags["flowml.root_run_id"] = above.root_run_id
    if earlier := id_of(new.follows):
        tags[_PREVIOUS] = earlier
    return tags


def _insert_of(out: Outgoing, new: NewRun, above: records.CurrentRun) -> sql_insert.RunInsert:
    batch = batches.next_batch(out, with_params=out.closing is not None)
    has_more = (
        out.evaluated.models
        or out.inputs
        or out.files
        or out.models
        or out.reused
        or len(out.metrics) > len(batch.metrics)
    )
    closing = None if has_more or not _is_plain(out.closing) else out.closing
    return sql_insert.RunInsert(
        new.name,
        new.started,
        batches.tags_of({**new.tags, **_leading(new, above.experiment_id), TAG: out.key}),
        batch,
        closing,
    )


def _is_plain(closing: Closing | None) -> bool:
    return closing is not None and not closing.rolls_up and closing.call_summary is None


def _was_created(out: Outgoing, new: NewRun, run_id: str, experiment_id: str, entity: Run | None) -> None:
    above = _above(new)
    is_below = above is not None and above.experiment_id == experiment_id and not new.is_root
    root_run_id = above.root_run_id if above and is_below else run_id
    out.note_created(Created(entity, records.CurrentRun(run_id, str(experiment_id), root_run_id, None)))
    if out.journal:
        journaled.note(out, "created", [run_id, str(experiment_id), root_run_id])


def _gone_on_with(client: MlflowClient, out: Outgoing, new: NewRun, experiment_id: str) -> Run | None:
    """Go on in the run of the same flow run, of another attempt or before it was suspended, if there is one."""
    flow_run = new.reopens or (new.tags.get("prefect.flow_run_id") if out.is_restored and _is_flow(new) else None)
    if flow_run is None:
        return None
    mine = f"tags.`prefect.flow_run_id` = '{flow_run}' and tags.`flowml.kind` = 'flow'"
    found = client.search_runs([experiment_id], mine, max_results=1)
    if not found:
        return None
    if not (out.is_restored and _is_followed(out, new, found[0])):
        _reopen(client, new, found[0])
    return found[0]


def _reopen(client: MlflowClient, new: NewRun, run: Run) -> None:
    run_id = run.info.run_id
    client.update_run(run_id, status="RUNNING")
    attempts.set_aside(client, run)
    client.set_tag(run_id, "prefect.state", "Running")
    for tag in (process.TAG, attempts.TAG):  # the last one says that the others are of this attempt
        if tag in new.tags:
            client.set_tag(run_id, tag, new.tags[tag])


def _is_flow(new: NewRun) -> bool:
    return new.tags.get("flowml.kind") == "flow"


def give_way(client: MlflowClient, out: Outgoing) -> bool:
    """See that what a journal brings late of an attempt at a flow run changes nothing of how a later one ended.

    Returns:
        Whether a later one has followed, the first time.
    """
    if not (out.new and _is_flow(out.new)):
        return False
    run, tags = client.get_run(out.created.result(0).info.run_id), out.new.tags
    if out.has_given_way or not _is_followed(out, out.new, run):
        return False
    out.tags = attempts.tags_apart(out.tags, run, tags)
    for files in out.files:
        attempts.files_apart(client, run, files.path, tags)
    out.losses.tag = f"flowml.{attempts.name(tags)}.tracking_error"
    out.closing, out.closed, out.has_given_way = None, True, True  # the later one has closed it, or will
    return True


def _is_followed(out: Outgoing, new: NewRun, run: Run) -> bool:
    ended = out.closing.ended if out.closing else None
    return attempts.is_followed(new.tags, run, is_first=new.reopens is None, ended=ended)
