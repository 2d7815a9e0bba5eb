"""Sends what one run has, step by step: create it, log what came in, close it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from flowml import records
from flowml.errors import TrackingError
from flowml.store import attempts, batches, fold, leftovers, news, process, reuse, rollup
from flowml.store.intake import take_in
from flowml.store.outgoing import Closing, Created, NewRun, Outgoing, open_here
from flowml.store.trouble import explain, is_unreachable, may_pass

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

_TRIES = 5  # of one step of one run, while other runs can be sent


class LaterError(Exception):
    """A step failed that may succeed later, while other runs can be sent."""

    def __init__(self, problem: TrackingError) -> None:
        super().__init__(problem)
        self.problem = problem


class StoreGoneError(LaterError):
    """The store cannot be reached: nothing else needs to be tried now."""


class Sender:
    """Sends to one MLflow store; only the writer's thread uses it.

    Args:
        client: MLflow's client for the store.
        uri: The store's tracking URI.
    """

    def __init__(self, client: MlflowClient, uri: str) -> None:
        self._client = client
        self._uri = uri
        self._pass = 0
        self._is_last = False

    def begin_pass(self, *, last: bool = False) -> None:
        """Begin to go through all runs: a step that failed is not tried twice in one pass, nor after the last."""
        self._pass += 1
        self._is_last = last

    def send(self, out: Outgoing, *, is_sorted: bool = False) -> bool:
        """Send what a run has.

        Args:
            out: What it has to send.
            is_sorted: Whether what came in was sorted for this pass; what comes in later is left for the next.

        Returns:
            True if nothing of it has to wait for later.

        Raises:
            LaterError: If a step failed that may succeed later.
            StoreGoneError: If nothing can be sent now.
        """
        if not out.created.done() and not self._step(out, partial(self._create, out)):
            return True
        if out.created.exception() is not None:
            out.sort()
            out.discard()
            return True
        follows = out.new.follows if out.new else None
        earlier = _id_of(follows)
        if follows and earlier and follows.tags:
            self._step(out, partial(batches.send_batch, self._client, earlier, follows, with_params=False))
        info = out.created.result().info
        run_id, client = info.run_id, self._client
        if out.closing and out.closing.tally:
            self._step(out, partial(fold.take_in, client, run_id, out.closing.tally))
            out.incoming.extend(take_in(out.closing.tally.records(), self._uri)[0])
            out.closing = dataclasses.replace(out.closing, tally=None)
        closing = out.closing  # read before what came in: whatever is logged after it is too late
        if not is_sorted:
            out.sort()
        self._step(out, partial(batches.send_batch, client, run_id, out, with_params=closing is not None or out.closed))
        self._step(out, partial(batches.send_inputs, client, run_id, out))
        self._step(out, partial(batches.send_files, client, run_id, out))
        self._step(out, partial(batches.send_models, client, run_id, out, info.experiment_id))
        self._step(out, partial(reuse.link, client, run_id, out, info.experiment_id))
        if closing is None:
            out.since = time.monotonic()
            return out.closed or not out.params
        if closing.rolls_up:
            self._step(out, partial(rollup.roll_up, client, run_id, info.experiment_id, out.own_metrics))
        if closing.rolls_up and out.root is None:
            failed = closing.status != "FINISHED"
            at_work = open_here() if closing.status == "FAILED" else set()  # a flow that was killed takes them along
            lost = partial(leftovers.close_lost_tasks, client, info, has_failed=failed, ended=closing.ended)
            self._step(out, partial(lost, at_work=at_work))
        if out.problems:
            told = str(out.problems[0])
            self._step(out, partial(client.set_tag, run_id, "flowml.tracking_error", told))
        self._end(out, closing)
        out.closing, out.closed = None, True
        out.discard()  # of what MLflow refused
        return True

    def _end(self, out: Outgoing, closing: Closing) -> None:
        """Close the run; who listens hears of a flow's."""
        info = out.created.result().info
        end = partial(self._client.set_terminated, info.run_id, status=closing.status, end_time=closing.ended)
        if self._step(out, end) and out.new is not None and closing.rolls_up:
            tags = {**out.new.tags, "flowml.root_run_id": info.root_run_id}
            facts = {"status": closing.status, "name": out.new.name}
            news.tell(news.News("run finished", self._client, info.experiment_id, info.run_id, tags, facts))

    def _step(self, out: Outgoing, job: Callable[[], object]) -> bool:
        """Do one step of a run; what MLflow refuses for good is noted and left out, and the other steps are done.

        Raises:
            LaterError: If it may succeed later.
            StoreGoneError: If nothing can be sent now.
        """
        try:
            job()
        except (StoreGoneError, LaterError):
            raise  # of the run above, which has to be created first
        except Exception as error:  # noqa: BLE001 - of MLflow, its database, the network
            problem = explain(self._uri, error)
            if is_unreachable(error):
                raise StoreGoneError(problem) from None
            out.tries, out.tried_in = out.tries + 1, self._pass
            if may_pass(error) and out.tries < _TRIES and not self._is_last:
                raise LaterError(problem) from None
            out.note(problem)
            if not out.created.done():
                out.created.set_exception(problem)
            return False
        out.tries = 0
        return True

    def _create(self, out: Outgoing) -> None:
        new = out.new
        if new is None:
            return
        if new.above and not new.above.created.done():
            if new.above.tried_in == self._pass:
                raise LaterError(TrackingError("the run above is not created yet."))
            self._step(new.above, partial(self._create, new.above))
        above = new.above.created.result(0).info if new.above else None
        experiment_id = above.experiment_id if above else new.experiment() if new.experiment else "0"
        entity = self._reopened(new, experiment_id)
        if entity is None:
            told = {"mlflow.parentRunId": above.run_id} if above else {}
            if above and not new.is_root:
                told["flowml.root_run_id"] = above.root_run_id
            earlier = _id_of(new.follows)
            if earlier:
                told["flowml.previous_run_id"] = earlier
            tags = batches.tags_of({**new.tags, **told})
            entity = self._client.create_run(experiment_id, new.started, tags, new.name)
        run_id = str(entity.info.run_id)
        if new.follows:
            new.follows.tags["flowml.next_run_id"] = run_id
        if new.is_root:
            out.tags["flowml.root_run_id"] = run_id
        root_run_id = above.root_run_id if above and not new.is_root else run_id
        out.created.set_result(Created(entity, records.CurrentRun(run_id, str(experiment_id), root_run_id, None)))

    def _reopened(self, new: NewRun, experiment_id: str) -> MlflowRun | None:
        """Go on in the run of the same flow run, of an earlier attempt or before it was suspended, if there is one."""
        if new.reopens is None:
            return None
        mine = f"tags.`prefect.flow_run_id` = '{new.reopens}' and tags.`flowml.kind` = 'flow'"
        found = self._client.search_runs([experiment_id], mine, max_results=1)
        if not found:
            return None
        run_id = found[0].info.run_id
        self._client.update_run(run_id, status="RUNNING")
        attempts.set_aside(self._client, found[0])
        self._client.set_tag(run_id, "prefect.state", "Running")
        for tag in (*process.TAGS, "flowml.attempt"):  # the last one says that the others are of this attempt
            if tag in new.tags:
                self._client.set_tag(run_id, tag, new.tags[tag])
        return found[0]


def _id_of(out: Outgoing | None) -> str | None:
    """Return the run's id, if it was created."""
    if out is None or not out.created.done() or out.created.exception():
        return None
    return out.created.result().info.run_id
