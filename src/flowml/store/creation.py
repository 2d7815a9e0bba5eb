"""Creates runs in MLflow: under the run above, with the tags that lead there; or goes on in one that is there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flowml import records
from flowml.store import attempts, batches, bulk, process
from flowml.store.outgoing import Closing, Created, NewRun, Outgoing

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

_PLAIN = re.compile(r"[\w.]{1,250}")  # a tag that MLflow takes for sure: one that it refuses must not cost the run


def create(client: MlflowClient, out: Outgoing, new: NewRun) -> None:
    """Create a run, with the tags it has by now; the one above is there already.

    Raises:
        Exception: What MLflow raises.
    """
    above = _above(new)
    experiment_id = above.experiment_id if above else new.experiment() if new.experiment else "0"
    entity = _reopened(client, new, experiment_id)
    if entity is None:
        known = {key: value for key, value in out.tags.items() if _PLAIN.fullmatch(key)}
        tags = {**new.tags, **_leading(new), **known}
        entity = client.create_run(experiment_id, new.started, batches.tags_of(tags), new.name)
        out.tags = {key: value for key, value in out.tags.items() if key not in known}
    _was_created(out, new, str(entity.info.run_id), experiment_id, entity)


def create_together(client: MlflowClient, group: Iterable[Outgoing]) -> None:
    """Write runs in one transaction, with all that is known of them; those of a group that can be written so.

    Raises:
        Exception: What MLflow refuses, or the database; none of them is there then.
    """
    by_experiment: dict[str, list[tuple[Outgoing, NewRun, bulk.RunInsert]]] = {}
    for out in group:
        new = out.new
        above = _above(new) if new and not out.created.done() else None
        if new and above and not (new.is_root or new.reopens or new.follows):
            by_experiment.setdefault(above.experiment_id, []).append((out, new, _insert_of(out, new)))
    for experiment_id, together in by_experiment.items():
        bulk.write(client, experiment_id, [insert for _, _, insert in together])
        for out, new, insert in together:
            batches.take_away(out, insert.batch)
            if insert.closing:
                out.closing, out.closed = None, True
            _was_created(out, new, insert.run_id, experiment_id, None)


def id_of(out: Outgoing | None) -> str | None:
    """Return the run's id, if it was created."""
    if out is None or not out.created.done() or out.created.exception():
        return None
    return out.created.result().info.run_id


def _above(new: NewRun) -> records.CurrentRun | None:
    """Return the run above, if there is one and it was created.

    Raises:
        TrackingError: If it could not be created.
    """
    return new.above.created.result().info if new.above and new.above.created.done() else None


def _leading(new: NewRun) -> dict[str, str]:
    """Return the tags that lead to other runs."""
    above, told = _above(new), {}
    if above:
        told["mlflow.parentRunId"] = above.run_id
    if above and not new.is_root:
        told["flowml.root_run_id"] = above.root_run_id
    if earlier := id_of(new.follows):
        told["flowml.previous_run_id"] = earlier
    return told


def _insert_of(out: Outgoing, new: NewRun) -> bulk.RunInsert:
    batch = batches.next_batch(out, with_params=out.closing is not None)
    has_more = out.inputs or out.files or out.models or out.reused or len(out.metrics) > len(batch.metrics)
    closing = None if has_more or not _is_plain(out.closing) else out.closing
    return bulk.RunInsert(new.name, new.started, batches.tags_of({**new.tags, **_leading(new)}), batch, closing)


def _is_plain(closing: Closing | None) -> bool:
    return closing is not None and not closing.rolls_up and closing.tally is None


def _was_created(out: Outgoing, new: NewRun, run_id: str, experiment_id: str, entity: MlflowRun | None) -> None:
    above = _above(new)
    if new.follows:
        new.follows.tags["flowml.next_run_id"] = run_id
    if new.is_root:
        out.tags["flowml.root_run_id"] = run_id
    root_run_id = above.root_run_id if above and not new.is_root else run_id
    out.created.set_result(Created(entity, records.CurrentRun(run_id, str(experiment_id), root_run_id, None)))


def _reopened(client: MlflowClient, new: NewRun, experiment_id: str) -> MlflowRun | None:
    """Go on in the run of the same flow run, of an earlier attempt or before it was suspended, if there is one."""
    if new.reopens is None:
        return None
    mine = f"tags.`prefect.flow_run_id` = '{new.reopens}' and tags.`flowml.kind` = 'flow'"
    found = client.search_runs([experiment_id], mine, max_results=1)
    if not found:
        return None
    run_id = found[0].info.run_id
    client.update_run(run_id, status="RUNNING")
    attempts.set_aside(client, found[0])
    client.set_tag(run_id, "prefect.state", "Running")
    for tag in (*process.TAGS, "flowml.attempt"):  # the last one says that the others are of this attempt
        if tag in new.tags:
            client.set_tag(run_id, tag, new.tags[tag])
    return found[0]
