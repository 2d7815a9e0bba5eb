"""Sends what one run has, step by step: create it, log what came in, close it."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from flowml.errors import TrackingError
from flowml.store import batches, creation, fold, leftovers, reuse, tables
from flowml.store.ending import Ending
from flowml.store.intake import take_in
from flowml.store.outgoing import Closing, Outgoing, open_here
from flowml.store.trouble import explain, is_unreachable, may_pass

if TYPE_CHECKING:
    from mlflow import MlflowClient

_logger = logging.getLogger(__name__)

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

    def send(self, out: Outgoing) -> bool:
        """Send what a run has.

        Args:
            out: What it has to send, sorted; what comes in later is left for the next pass.

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
        earlier = creation.id_of(follows)
        if follows and earlier and follows.tags:
            self._step(out, partial(batches.send_batch, self._client, earlier, follows, with_params=False))
        created, client = out.created.result(), self._client
        info, run_id = created.info, created.info.run_id
        if out.closing and out.closing.tally:
            self._step(out, partial(fold.take_in, client, run_id, out.closing.tally))
            out.incoming.extend(take_in(out.closing.tally.records(), self._uri)[0])
            out.closing = dataclasses.replace(out.closing, tally=None, folded=out.closing.tally)
            out.sort()
        closing = out.closing
        self._step(out, partial(batches.send_batch, client, run_id, out, with_params=closing is not None or out.closed))
        self._step(out, partial(batches.send_inputs, client, run_id, out))
        self._step(out, partial(batches.send_files, client, created, out))
        self._step(out, partial(batches.send_models, client, run_id, out, info.experiment_id))
        self._step(out, partial(reuse.link, client, run_id, out, info.experiment_id))
        if closing is None:
            out.since = time.monotonic()
            return out.closed or not out.params
        ending = self._close(out, closing)
        out.closing, out.closed = None, True
        out.discard()  # of what MLflow refused
        ending.notify()
        return True

    def _close(self, out: Outgoing, closing: Closing) -> Ending:
        info, client = out.created.result().info, self._client
        ending = Ending(client, out, closing)
        if closing.rolls_up and out.root is None:
            failed = closing.status != "FINISHED"
            at_work = open_here() if closing.status == "FAILED" else set()  # a flow that was killed takes them along
            lost = partial(leftovers.close_lost_tasks, client, info, has_failed=failed, ended=closing.ended)
            self._step(out, partial(lost, at_work=at_work))
        if closing.rolls_up:
            for step in (ending.read, ending.draw, ending.sum_up):
                self._step(out, step)
        if out.problems:
            told = str(out.problems[0])
            self._step(out, partial(client.set_tag, info.run_id, "flowml.tracking_error", told))
        ending.is_closed = self._step(out, partial(creation.end, client, info.run_id, closing))
        out.is_ending = False
        return ending

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

    def create(self, out: Outgoing) -> None:
        """Create a run that somebody waits for, before its turn.

        Raises:
            LaterError: If it may succeed later.
        """
        if not out.created.done():
            self._step(out, partial(self._create, out))

    def create_together(self, group: list[Outgoing]) -> None:
        """Create runs in one transaction where that can be done; the others are created when they are sent.

        Raises:
            StoreGoneError: If nothing can be sent now.
        """
        if not tables.serves(self._client):
            return
        try:
            creation.create_together(self._client, group)
        except Exception as error:
            if is_unreachable(error):
                raise StoreGoneError(explain(self._uri, error)) from None
            # One may be refused: each is sent by itself, and says why.
            _logger.debug("runs could not be written together", exc_info=error)

    def _create(self, out: Outgoing) -> None:
        new = out.new
        if new is None:
            return
        if new.above and not new.above.created.done():
            if new.above.tried_in == self._pass:
                raise LaterError(TrackingError("the run above is not created yet."))
            self._step(new.above, partial(self._create, new.above))
        creation.create(self._client, out, new)
