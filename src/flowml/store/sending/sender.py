"""Sends what one run has, step by step: create it, log what came in, close it."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from flowml import faults, records
from flowml.errors import TrackingError
from flowml.store import dag_run
from flowml.store.backend import sql_tables
from flowml.store.backend.failures import explain
from flowml.store.backend.retrying import is_unreachable
from flowml.store.flow_end import cached
from flowml.store.flow_end.summary import file_of
from flowml.store.sending import batches, child_notes, creation
from flowml.store.sending.flow_ends import FlowEnds
from flowml.store.sending.steps import LaterError, Steps, StoreGoneError
from flowml.store.waiting import journaled
from flowml.store.waiting.intake import enqueue
from flowml.store.waiting.queue import Closing, Outgoing, Taken

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from flowml.store.backend.connection import Connection

_logger = logging.getLogger(__name__)


Behind: TypeAlias = Literal["nothing", "parts", "runs"]
"""What is not sent yet below a flow's run: files or models of its tasks, or whole runs."""


class Sender:
    """Sends to one MLflow store; the writer's thread uses it, and over HTTP those that it starts, for a run each.

    Args:
        connection: The connection to the store.

    Attributes:
        watch: Tells whether the store answers.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._uri = connection.uri
        self._steps = Steps(connection)
        self._flow_ends = FlowEnds(connection, self._steps)
        self.watch = self._steps.watch
        self._is_behind: Callable[[Outgoing], Behind] = lambda _: "nothing"

    @property
    def _client(self) -> MlflowClient:
        return self._connection.client

    def begin_pass(self, is_last: Callable[[Outgoing], bool], is_behind: Callable[[Outgoing], Behind]) -> None:
        """Begin to go through all runs.

        Args:
            is_last: Tells of which runs the rest is sent where a part fails, the end too: the part is late then.
            is_behind: Tells what is not sent yet of the runs below one.
        """
        self._steps.begin_pass(is_last)
        self._is_behind = is_behind

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
        out.late = None
        try:
            is_done = self._send(out)
            if is_done and out.summed_up:
                self._flow_ends.take_notes_away(out, out.summed_up)
        except StoreGoneError:
            raise
        except LaterError as later:
            if self._steps.is_last(out):
                out.losses.put_off(out, str(later.problem))
            raise
        except Exception as error:  # noqa: BLE001 - of the disk, or flowml's own: the other runs are sent
            is_done = self._give_up(out, error)
        if out.late:
            out.losses.put_off(out, str(out.late))
            raise LaterError(out.late)
        out.losses.arrived(out)
        if not (is_done and self._flow_ends.sent(out)):
            self._clear(out, is_done=is_done)
        return is_done

    def _clear(self, out: Outgoing, *, is_done: bool) -> None:
        """Take away from the journal what MLflow has; not a run that it refuses, which may have another place."""
        if out.created.done() and out.created.exception(0) is None:
            is_shared = out.new is not None and out.new.is_shared  # how it ends is not this process's to say
            is_over = out.closed or out.is_restored or out.new is None or is_shared
            if is_done and out.is_restored and out.new and not (out.closed or is_shared) and not out.incoming:
                journaled.to_be_closed(out)
            elif is_done and is_over and not out.incoming:
                journaled.done(out)
            else:
                journaled.sent(out)

    def _send(self, out: Outgoing) -> bool:
        if not out.created.done() and not self._steps.do(out, partial(self._create, out), is_vital=True):
            return True
        if out.created.exception(0) is not None:
            out.sort()
            if not out.journal:
                out.discard()
            return True
        if (earlier := out.new.follows if out.new else None) and earlier.tags:
            self._steps.do(out, partial(creation.link_earlier, self._client, out, earlier))
        created, client = out.created.result(0), self._client
        info, run_id = created.info, created.info.run_id
        if out.is_restored:
            self._steps.do(out, partial(self._give_way, out), is_vital=True)
        self._sum_up(out)
        closing = out.closing
        is_over = closing is not None or out.closed or out.is_restored
        self._steps.do(out, partial(batches.send_batch, client, run_id, out, with_params=is_over))
        self._steps.do(out, partial(batches.send_inputs, client, run_id, out))
        if out.prompts:  # before the models, which are linked to them too
            self._steps.do(out, partial(batches.send_prompts, client, run_id, out))
        self._steps.do(out, partial(batches.send_files, client, created, out), is_of_files=True)
        self._steps.do(out, partial(batches.send_models, client, run_id, out, info.experiment_id), is_of_files=True)
        self._send_links(out, info, is_over=is_over)
        if closing is None:
            self._tell_losses(out)
            out.since = time.monotonic()
            return out.closed or not (out.params or out.spans)
        return self._close(out, closing)

    def _sum_up(self, out: Outgoing) -> None:
        """Sum up the calls that have no run, once; also those of a run whose process was killed, or left it."""
        calls = out.closing.call_summary if out.closing else out.children if out.is_restored else None
        if calls is None or out.new is None:
            return
        count = partial(child_notes.count, self._client, out.created.result(0).info.run_id, calls)
        self._steps.do(out, count, is_vital=True)
        at = out.closing.ended if out.closing else out.new.started
        if found := calls.children():
            self._enqueue(out, [file_of(found), *calls.records()], at=at)
        out.children, out.summed_up = None, calls
        if out.closing:
            out.closing = dataclasses.replace(out.closing, call_summary=None)

    def _send_links(self, out: Outgoing, info: records.CurrentRun, *, is_over: bool) -> None:
        """Send what leads from a run to what else there is of it, and the other way."""
        if out.spans or out.traces:
            self._steps.do(out, partial(batches.send_spans, self._connection, out, may_wait=not is_over))
        if out.closing:
            self._steps.do(out, partial(batches.send_to_model, self._client, info.run_id, out))
        if out.reused:
            may_come = self._is_behind(out) != "nothing"
            link = partial(cached.link, self._client, info.run_id, out.reused, info.experiment_id, may_come=may_come)
            self._steps.do(out, link)

    def _close(self, out: Outgoing, closing: Closing) -> bool:
        """Close a run whose records are sent; tell whether nothing of it has to wait."""
        behind = self._is_behind(out) if closing.rolls_up else "nothing"
        ending = self._flow_ends.before_closing(out, closing) if behind != "runs" else None
        self._tell_losses(out)
        close = partial(creation.close_run, self._client, out, closing)
        is_closed = self._steps.do(out, close, is_vital=True)
        if out.new and dag_run.has_one(out.new.tags):
            self._steps.do(
                out, partial(dag_run.tell_end, self._client, out.created.result(0).info.run_id, out.new.tags)
            )
        out.closed = True
        if ending:
            self._flow_ends.closed(out, ending, is_closed=is_closed)
        if behind != "nothing":
            return False  # it is summed up again when all is there
        if ending:
            self._flow_ends.look_again(out, ending)
        out.closing, out.is_ending = None, False
        return True

    def _enqueue(self, out: Outgoing, new_records: Iterable[records.Record], *, at: int) -> None:
        taken, problems = enqueue(new_records, self._uri, at)
        out.incoming.append(Taken(0, taken))
        out.sort()
        for problem in problems:
            out.note(problem)

    def _give_way(self, out: Outgoing) -> None:
        if creation.give_way(self._client, out) and out.children:
            self._enqueue(out, [file_of(out.children.children())], at=0)  # the run tells of them with the later one's
            out.children = None

    def _tell_losses(self, out: Outgoing) -> None:
        """Tag the run with what was lost of it and below it, if that is not what its tag says."""
        value = out.losses.untold() if out.root is None else None
        if value is not None:
            run_id, tag = out.created.result(0).info.run_id, out.losses.tag
            tell = partial(self._client.set_tag, run_id, tag, value) if value else None
            if self._steps.do(out, tell or partial(self._client.delete_tag, run_id, tag)):
                out.losses.tell(value)

    def _give_up(self, out: Outgoing, error: Exception) -> bool:
        """Give up the rest of a run that cannot be sent for no fault of MLflow's; it is closed all the same.

        Raises:
            LaterError: If it may be sent later.
        """
        problem = explain(self._uri, error)
        if problem.waits:
            raise LaterError(problem) from None
        out.note(problem)
        closing, out.closing, out.closed, out.is_ending = out.closing, None, True, False
        out.discard()
        if not out.created.done():
            out.created.set_exception(problem)
        elif closing and not out.created.exception(0):
            self._tell_losses(out)
            self._steps.do(out, partial(creation.close_run, self._client, out, closing))
        return True

    def tell_later(self, outs: list[Outgoing]) -> None:
        """Note runs that others closed: the flows above them are to tell again, the innermost first."""
        for out in reversed(outs):
            self._flow_ends.tell_later(out)

    def tell_again(self, has_told: Callable[[], object]) -> None:
        """Let closed runs of flows tell of what was sent after they were closed.

        Args:
            has_told: Called when one has.

        Raises:
            LaterError: If that failed for one of them and may succeed later.
        """
        self._flow_ends.tell_again(partial(self._clear, is_done=True), has_told)

    def create(self, out: Outgoing) -> None:
        """Create a run that somebody waits for, before its turn.

        Raises:
            LaterError: If it may succeed later.
        """
        if not out.created.done():
            self._steps.do(out, partial(self._create, out), is_vital=True)

    def create_together(self, group: list[Outgoing]) -> None:
        """Create runs in one transaction where that can be done; the others are created when they are sent.

        Raises:
            StoreGoneError: If nothing can be sent now.
        """
        try:
            if not sql_tables.serves(self._client):
                return
            with self.watch.working():
                creation.create_together(self._client, group)
        except Exception as error:  # noqa: BLE001 - of MLflow, its database, or flowml's own
            if is_unreachable(error):
                raise StoreGoneError(explain(self._uri, error)) from None
            # One may be refused: each is sent by itself, and says why.
            faults.tell("write runs together", error, _logger)

    def _create(self, out: Outgoing) -> None:
        new = out.new
        if new is None:
            if out.opened and not out.opened.created.done():
                self._create(out.opened)
            return creation.find(self._client, out)
        for first in (new.above, new.follows if new.follows and new.follows.new else None):
            if first and not first.created.done():
                if self._steps.has_failed(first):
                    raise LaterError(
                        TrackingError("the run above, or of the attempt before, is not created yet.", waits=True)
                    )
                self._steps.do(first, partial(self._create, first), is_vital=True)
        return creation.create(self._connection, out, new)
