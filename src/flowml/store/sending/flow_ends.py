"""What the runs of flows tell when they are closed, and again when more has come below them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from flowml import formats
from flowml.store.flow_end import again, orphans
from flowml.store.flow_end.ending import EndedRun, Ending
from flowml.store.sending import batches, child_notes, creation
from flowml.store.sending.steps import LaterError, Steps, StoreGoneError
from flowml.store.waiting import journaled
from flowml.store.waiting.queue import Closing, Created, Outgoing, open_here

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from flowml.store.backend.connection import Connection
    from flowml.store.flow_end.summary import CallSummary


class FlowEnds:
    """Lets the runs of flows in one store tell of what is below them.

    Args:
        connection: The connection to the store.
        steps: Does what is to be done, step by step.
    """

    def __init__(self, connection: Connection, steps: Steps) -> None:
        self._connection = connection
        self._steps = steps
        self._to_tell: dict[str, list[Outgoing]] = {}  # the ids of runs that are to tell again, and of whom

    @property
    def _client(self) -> MlflowClient:
        return self._connection.client

    def before_closing(self, out: Outgoing, closing: Closing) -> Ending | None:
        """Do all that the end of a flow's run brings, but for closing it; None for another run.

        Raises:
            LaterError: If a part of it may be done later.
            StoreGoneError: If nothing can be sent now.
        """
        if not closing.rolls_up or out.new is None:
            return None
        info, client = out.created.result(0).info, self._client
        ending = Ending(
            client,
            EndedRun(
                info=info,
                name=out.new.name,
                tags=out.new.tags,
                status=closing.status,
                ended=closing.ended,
                losses=out.losses,
                own_metrics=out.own_metrics,
                runs_around_tasks=out.runs_around_tasks,
                summarized=out.summed_up,
                subscribers=out.subscribers,
                awaited=journaled.awaited(out),
            ),
        )
        if out.root is None:
            failed = closing.status != "FINISHED"
            at_work = open_here() if closing.status == "FAILED" else set()  # a flow that was killed takes them along
            lost = partial(orphans.close_lost_tasks, client, info, has_failed=failed, ended=closing.ended)
            self._steps.do(out, partial(lost, at_work=at_work))
        self._tell_below(out, ending, closing.ended, is_late=out.is_late)
        if out.late:  # these steps may be that, too
            out.losses.put_off(out, str(out.late))
        return ending

    def closed(self, out: Outgoing, ending: Ending, *, is_closed: bool) -> None:
        """Notify of the end of a flow's run.

        Args:
            out: The run.
            ending: What it told.
            is_closed: Whether MLflow has closed it.
        """
        is_first, out.is_ended = not out.is_ended, True
        ending.notify(is_closed=is_closed, is_first=is_first)

    def look_again(self, out: Outgoing, ending: Ending) -> None:
        """Let a closed run of a flow tell again, if something came between its telling and its end."""
        if ending.awaited - journaled.awaited(out):  # they came meanwhile, and took it for open
            self.tell_later(out)

    def tell_later(self, out: Outgoing) -> None:
        """Note that a closed run is to tell again, if it is a flow's, and the flows above it."""
        self._to_tell.setdefault(out.created.result(0).info.run_id, []).append(out)

    def take_notes_away(self, out: Outgoing, call_summary: CallSummary) -> None:
        """Take away what others noted on a run that is summed up; it tells again where that is not all there is.

        Raises:
            LaterError: If it may be done later.
            StoreGoneError: If nothing can be sent now.
        """
        run_id = out.created.result(0).info.run_id
        is_shared = out.is_restored or not out.new or bool(out.new.reopens)

        def work() -> None:
            is_more = child_notes.take_away(self._client, run_id, call_summary, is_shared=is_shared)
            if is_more or out.is_restored:  # what was sent before, and is sent again, may have the same time
                self.tell_later(out)
            out.summed_up = None

        self._steps.do(out, work)

    def _tell_below(self, out: Outgoing, ending: Ending, ended: int, *, is_late: bool) -> None:
        """Let a flow's run tell of what is below it; where it may have told before, what is otherwise now is of now."""
        self._steps.do(out, ending.read)
        drawn = partial(batches.send_apart, self._client, self._connection.uri, out.created.result(0))
        self._steps.do(out, lambda: drawn([*ending.graph(), *out.figures.records()]))
        out.figures.remove()
        self._steps.do(out, ending.link)
        self._steps.do(out, ending.rename)
        self._steps.do(out, partial(self._send_results, out, ending, ended, is_late=is_late))

    def _send_results(self, out: Outgoing, ending: Ending, ended: int, *, is_late: bool) -> None:
        send = partial(batches.send_apart, self._client, self._connection.uri, out.created.result(0))
        news, changed = ending.changed() if is_late else (ending.results(), ())
        send(news, ended)
        send(changed, formats.now())

    def sent(self, out: Outgoing) -> bool:
        """Note that a run is sent, and that a flow's run is to tell again, if it was closed without this one.

        Returns:
            Whether the journal is to keep the run until then.
        """
        above = out.new.above if out.new and not out.has_given_way else out
        # A flow waits for what its own process had; what another process left comes before it, or after it.
        if above and (above is out or above.new is None or (above.root or above) is not (out.root or out)):
            journaled.forget_late(out)
            if out.is_late and (run_id := creation.id_of(above)):
                self._to_tell.setdefault(run_id, []).append(out)
        return any(out in outs for outs in list(self._to_tell.values()))  # other threads send, too

    def tell_again(self, clear: Callable[[Outgoing], object], has_told: Callable[[], object]) -> None:
        """Let closed runs of flows tell of what was sent after they were closed, and those above them.

        Args:
            clear: Called with each run of which all above it have told.
            has_told: Called when one has told.

        Raises:
            LaterError: If that failed for one of them and may succeed later.
        """
        left, problem = dict[str, list[Outgoing]](), None
        while self._to_tell and not isinstance(problem, StoreGoneError):
            run_id = next(iter(self._to_tell))
            outs, flow, above = self._to_tell.pop(run_id), Outgoing(None, None), list[str]()
            job = partial(self._tell_again, flow, run_id, above.append)
            try:
                self._steps.do(flow, job, is_vital=True, is_of_files=True)
            except LaterError as error:
                left.setdefault(run_id, []).extend(outs)
                problem = error
                continue
            has_told()
            for refused in flow.problems:
                outs[0].note(refused)
            for other in above:
                self._to_tell.setdefault(other, []).extend(outs)
            for out in outs if not above else ():
                clear(out)
        for run_id, outs in left.items():
            self._to_tell.setdefault(run_id, []).extend(outs)
        if problem:
            raise problem

    def _tell_again(self, out: Outgoing, run_id: str, go_on: Callable[[str], object]) -> None:
        run = self._client.get_run(run_id)
        if ended := again.ended(self._client, run):
            out.created.set_result(Created(run, ended.info))
            self._tell_below(out, Ending(self._client, ended), ended.ended, is_late=True)
            if ended.summarized and not out.late:
                self.take_notes_away(out, ended.summarized)
        if out.late:
            raise LaterError(out.late)
        if above := again.above(run):
            go_on(above)
