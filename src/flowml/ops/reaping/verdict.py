"""Whether an open run's flow or task run has ended, and how: Prefect's word, its process, the run above it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowml import process
from flowml.ops.prefect_states import FLOW_RUN, TASK_RUN, State

if TYPE_CHECKING:
    from mlflow.entities import Run

ENDS = {"COMPLETED": "FINISHED", "FAILED": "FAILED", "CRASHED": "FAILED", "CANCELLED": "KILLED"}
_WAITING = {"SCHEDULED", "PENDING"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run is to be closed.

    Attributes:
        status: The status it ends with.
        why: The reason, for people.
        state: Prefect's name for the state that decided; None if it does not know one.
        ended: When it ended, in milliseconds since 1970; None if nobody knows.
        since: From when on this is so; None if whoever would have closed the run is gone for certain.
        superseded: Whether a later attempt took its place.
        by_process: Whether it rests on a process being gone, while Prefect may not have heard everything from it yet.
    """

    status: str
    why: str
    state: str | None
    ended: int | None
    since: int | None
    superseded: bool = False
    by_process: bool = False


@dataclass(frozen=True)
class Judge:
    """Judges open runs by what was read of them, of the runs above them, and of Prefect.

    Attributes:
        runs: MLflow's runs by id: those to be judged, and all above them.
        flows: What Prefect says of their flow runs.
        tasks: What Prefect says of their task runs.
        api: The Prefect that was asked.
        gone: Whether a process has ended; None where that cannot be known.
        is_in_background: Tells whether a task run outlives the flow run it was called in.
    """

    runs: Mapping[str, Run]
    flows: Mapping[str, State]
    tasks: Mapping[str, State]
    api: str
    gone: Mapping[process.Process | None, bool | None]
    is_in_background: Callable[[str], bool]

    def judge(self, run: Run) -> Verdict | None:
        """Return how a run is to be closed; None if it is not."""
        if run.info.status not in {"RUNNING", "SCHEDULED"}:
            return self._closed(run)
        tags, above = run.data.tags, self._above(run)
        if above and "flowml.kind" not in tags and _same(tags, above.data.tags):
            verdict = self.judge(above)  # opened by hand: it ends with the run it was opened in
        else:
            verdict = self._by_prefect(run) or self._by_process(run) or self._by_the_run_above(run)
        if verdict and self.is_gone(run):
            return dataclasses.replace(verdict, since=None)
        return verdict

    def knows(self, run: Run) -> bool:
        """Tell whether the Prefect that was asked is the one which a run's ids are of."""
        tags = run.data.tags
        known = tags.get(TASK_RUN) in self.tasks or tags.get(FLOW_RUN) in self.flows
        return known or tags.get("prefect.api", self.api) == self.api

    def is_a_flows(self, run: Run) -> bool:
        """Tell whether a run is that of a flow, not of a task or opened by hand."""
        return run.data.tags.get("flowml.kind") == "flow"

    def process_of(self, run: Run) -> process.Process | None:
        """Return a run's process: the one its tag tells of, or that of the run above which is in the same one."""
        here: Run | None = run
        while here is not None:
            if found := process.in_tags(here.data.tags):
                return found
            here = self._above(here)
        return None

    def _closed(self, run: Run) -> Verdict:
        ended = run.info.end_time or run.info.start_time
        return Verdict(run.info.status, "the run above it is closed", run.data.tags.get("prefect.state"), ended, ended)

    def _by_prefect(self, run: Run) -> Verdict | None:
        tags = run.data.tags
        task_id, flow_id = tags.get(TASK_RUN), tags.get(FLOW_RUN)
        state = self._state(run)
        if state is None:
            # News of a task may be under way while its flow run is known, or while its process has just gone.
            unheard = task_id and (flow_id in self.flows or (flow_id is None and self.is_gone(run)))
            if unheard or not self.knows(run) or self.is_gone(run) is False:
                return None
            which = "task run" if task_id else "flow run"
            return Verdict("KILLED", f"its {which} does not exist in Prefect any more", None, None, run.info.start_time)
        number = tags.get("flowml.attempt", "")
        attempt = int(number) if number.isdecimal() else state.attempt
        if task_id and attempt < state.attempt:
            why = f"Prefect is at attempt {state.attempt}; this is attempt {attempt}"
            return Verdict("FAILED", why, state.name, state.since, state.since, superseded=True)
        if state.ended is None or attempt > state.attempt or state.type not in ENDS:
            return None
        return Verdict(ENDS[state.type], f"Prefect says {state.name}", state.name, state.ended, state.ended)

    def _by_process(self, run: Run) -> Verdict | None:
        if not self.is_gone(run):
            return None
        state = self._state(run)
        if state and (state.type == "PAUSED" or (state.type in _WAITING and state.is_deployed)):
            return None  # another process is to go on with it
        its_process = self.process_of(run)
        says = state.name if state else "nothing"
        where = f"{its_process.pid} on {its_process.host}" if its_process else ""
        why = f"its process {where} is gone while Prefect says {says}"
        status = "KILLED" if state and state.type == "CANCELLING" else "FAILED"
        return Verdict(status, why, says if state else None, None, None, by_process=True)

    def _by_the_run_above(self, run: Run) -> Verdict | None:
        above = self._above(run)
        verdict = self.judge(above) if above else None
        if above is None or verdict is None:
            return None
        if not self._together(run, above) and (verdict.since is None or self.is_gone(run) is False):
            return None  # the process of the run above is gone, but this one's may be at work
        if not self._ends_with(run, above):
            return None
        state = verdict.state or verdict.status
        return dataclasses.replace(
            verdict,
            status="KILLED" if verdict.status == "KILLED" else "FAILED",
            superseded=False,
            why=f"still open when the run above it, {above.info.run_name}, had ended ({state})",
        )

    def _ends_with(self, run: Run, above: Run) -> bool:
        """Tell whether a run cannot outlive the one above it."""
        tags, others = run.data.tags, above.data.tags
        if FLOW_RUN not in others and TASK_RUN not in others:
            return False  # a run of the user's, whose end flowml knows nothing of
        if tags.get("flowml.kind") == "flow":
            state = self._state(run)
            return state is not None and not state.is_deployed
        if self._together(run, above):
            return True
        same_flow = tags.get(FLOW_RUN) == others.get(FLOW_RUN)
        return same_flow and not self.is_in_background(tags.get(TASK_RUN, ""))

    def _state(self, run: Run) -> State | None:
        tags = run.data.tags
        return self.tasks.get(tags[TASK_RUN]) if TASK_RUN in tags else self.flows.get(tags.get(FLOW_RUN, ""))

    def _above(self, run: Run) -> Run | None:
        return self.runs.get(run.data.tags.get("mlflow.parentRunId", ""))

    def is_gone(self, run: Run) -> bool | None:
        """Tell whether a run's process has ended; None where that cannot be known."""
        return self.gone.get(self.process_of(run))

    def _together(self, run: Run, above: Run) -> bool:
        """Tell whether two runs are of one process."""
        return self.process_of(run) == self.process_of(above)


def _same(tags: Mapping[str, str], others: Mapping[str, str]) -> bool:
    return all(tags.get(key) == others.get(key) for key in (FLOW_RUN, TASK_RUN))
