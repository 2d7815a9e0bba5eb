"""Closes the runs that nobody is going to close any more: their flow or task run ended without them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from flowml import formats, process
from flowml.events import reporting
from flowml.ops.prefect_api import batched
from flowml.ops.prefect_states import FLOW_RUN, TASK_RUN, Prefect, State, connected, is_id
from flowml.ops.reaping.news import News
from flowml.ops.reaping.report import Reaped, Report
from flowml.ops.reaping.verdict import ENDS, Judge, Verdict
from flowml.ops.runs import Runs
from flowml.store import tracing
from flowml.store.backend import notifications
from flowml.store.backend.connection import Connection, connect
from flowml.store.backend.failures import explained
from flowml.store.backend.in_force import is_there

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


GRACE = 60.0
_AT_ONCE = 200


def reap_runs(  # noqa: PLR0913 - each by its name
    *,
    grace: float = GRACE,
    older_than: float = 0.0,
    dry_run: bool = False,
    only: Collection[str] | None = None,
    connection: Connection | None = None,
    news: News | None = None,
) -> Report:
    """Close each open run with a Prefect id whose flow or task run has ended, or is gone.

    Args:
        grace: Leave a run whose Prefect run ended less than so many seconds ago: what it logged may be under way.
        older_than: Look only at runs that began more than so many seconds ago.
        dry_run: Close nothing.
        only: Look only at the runs with these ids. Default: at all.
        connection: The store they are in. Default: that in force here.
        news: Waits for Prefect's news; one for several stores, whose processes are all gone, waits once.

    Returns:
        What was closed, and what stays open.

    Raises:
        OrchestrationError: If Prefect's API cannot be reached; nothing is closed then.
        TrackingError: If MLflow cannot be reached.
        SettingsError: If a setting of flowml cannot be used.
    """
    with connected() as prefect:
        if connection is None and not is_there():
            return Report(dry_run=dry_run)
        connection = connection or connect()
        runs = Runs(connection.client)
        reporting.begin()
        reaper = _Reaper(connection.client, runs, prefect, grace, news or News(), dry_run=dry_run)
        cutoff = formats.now() - int(older_than * 1000)
        seen: set[str] = set()
        with explained(connection.uri):
            # Another reaper closes runs meanwhile, which moves MLflow's pages: read until there is nothing new.
            while new := [
                each for each in runs.open_ids(cutoff) if each not in seen and (only is None or each in only)
            ]:
                seen.update(new)
                for some in batched(new, _AT_ONCE):
                    reaper.reap(some)
    return reaper.report


class _Reaper:
    """Reaps some runs after the other, and keeps the account."""

    def __init__(  # noqa: PLR0913 - what it works with
        self, client: MlflowClient, runs: Runs, prefect: Prefect, grace: float, news: News, *, dry_run: bool
    ) -> None:
        self.report = Report(dry_run=dry_run)
        self._client = client
        self._runs = runs
        self._prefect = prefect
        self._grace = int(grace * 1000)
        self._dry_run = dry_run
        self._news = news

    def reap(self, run_ids: list[str]) -> None:
        """Close those of some runs that are to be closed."""
        known = self._runs.with_those_above(run_ids)
        chosen = [known[run_id] for run_id in run_ids if run_id in known]
        judge = self._ask(known)
        verdicts = [judge.judge(run) for run in chosen]
        while self._waits_for_news(judge, chosen, verdicts):
            judge = self._ask(known)
            verdicts = [judge.judge(run) for run in chosen]
        for run, verdict in zip(chosen, verdicts, strict=True):
            if self._carry_out(judge, run, verdict) and judge.is_a_flows(run) and judge.is_gone(run):
                add_last_attempts(self._runs, self._prefect, run, _written(formats.now()))

    def _ask(self, known: Mapping[str, Run]) -> Judge:
        from flowml.capture.engine.attempt import api

        # The processes are looked at before Prefect is asked: its answer then holds all that they told it.
        processes = {process.in_tags(run.data.tags) for run in known.values()}
        gone: dict[process.Process | None, bool | None] = {each: each.is_gone() for each in processes if each}
        return Judge(
            runs=known,
            flows=self._prefect.flow_runs(_ids(known.values(), FLOW_RUN)),
            tasks=self._prefect.task_runs(_ids(known.values(), TASK_RUN)),
            api=api(),
            gone=gone,
            is_in_background=self._prefect.is_in_background,
        )

    def _waits_for_news(self, judge: Judge, chosen: list[Run], verdicts: list[Verdict | None]) -> bool:
        """Wait a little, if Prefect's API may not have heard yet all that a process told it which is gone now."""
        resting = [run for run, verdict in zip(chosen, verdicts, strict=True) if verdict and verdict.by_process]
        if self._dry_run or not resting:
            return False
        return self._news.may_come(map(judge.process_of, resting), self._prefect, self._grace)

    def _carry_out(self, judge: Judge, run: Run, verdict: Verdict | None) -> bool:
        """Close a run if it is to be, and keep the account; tell whether it was closed here and now."""
        report, tags = self.report, run.data.tags
        if verdict is None and judge.knows(run):
            report.running += 1
        elif verdict is None:
            report.strangers[tags["prefect.api"]] += 1
        elif verdict.since is not None and formats.now() - verdict.since < self._grace:
            report.in_grace += 1
        elif self._dry_run or self._close(run, verdict):
            flow_run = tags.get("prefect.flow_run_name", "")
            report.closed.append(Reaped(run.info.run_id, run.info.run_name, flow_run, verdict.status, verdict.why))
            return not self._dry_run
        return False

    def _close(self, run: Run, verdict: Verdict) -> bool:
        now = formats.now()
        tags = {"flowml.closed": verdict.why, "flowml.closed_at": _written(now)}
        if verdict.state:
            tags["prefect.state"] = verdict.state
        if verdict.superseded:
            tags["flowml.superseded"] = "true"
        ended = max(run.info.start_time, now if verdict.ended is None else verdict.ended)
        is_closed = self._runs.close(run.info.run_id, verdict.status, ended, tags)
        if is_closed:
            state, why = verdict.state or verdict.status, f"closed: {verdict.why}"
            tracing.end_left_open(self._client, run, verdict.status, state=state, ended=ended, why=why)
            notifications.notify_closed(self._client, run, verdict.status)
        return is_closed


def _ids(runs: Iterable[Run], tag: str) -> set[str]:
    return {number for run in runs if is_id(number := run.data.tags.get(tag, ""))}


def _written(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, timezone.utc).isoformat(timespec="seconds")


_KEPT = ("prefect.", "mlflow.user", "mlflow.source.", "mlflow.parentRunId", "flowml.kind", "flowml.root_run_id")
_WHY = "its process was killed before it sent this attempt; Prefect says {}"


def add_last_attempts(runs: Runs, prefect: Prefect, flow: Run, at: str) -> None:
    """Add a small closed run for the last attempt at each task run whose earlier one would be the last word in MLflow.

    Args:
        runs: MLflow's runs.
        prefect: Prefect's API.
        flow: The run of a flow whose process was killed.
        at: Now, as the tag ``flowml.closed_at`` tells it.

    Raises:
        OrchestrationError: If Prefect's API cannot be reached.
    """
    last: dict[str, Run] = {}
    for run in runs.search(f"tags.`{FLOW_RUN}` = '{flow.data.tags[FLOW_RUN]}'"):
        task_run = run.data.tags.get(TASK_RUN, "")
        if "flowml.kind" in run.data.tags and is_id(task_run):
            last[task_run] = max(last.get(task_run, run), run, key=_attempt)
    for task_run, state in prefect.task_runs(last).items():
        if state.type in ENDS and state.ended and state.attempt > _attempt(last[task_run]):
            _add(runs, last[task_run], state, at)


def _add(runs: Runs, earlier: Run, state: State, at: str) -> None:
    tags = {key: value for key, value in earlier.data.tags.items() if key.startswith(_KEPT)}
    tags |= {
        "prefect.state": state.name,
        "flowml.attempt": str(state.attempt),
        "flowml.previous_run_id": earlier.info.run_id,
        "flowml.closed": _WHY.format(state.name),
        "flowml.closed_at": at,
    }
    ended = state.ended or state.since
    started = min(earlier.info.end_time or ended, ended)
    added = runs.add(earlier.info.experiment_id, earlier.info.run_name, started, tags)
    runs.close(added, ENDS[state.type], ended, {})
    runs.tag(earlier.info.run_id, {"flowml.superseded": "true", "flowml.next_run_id": added})


def _attempt(run: Run) -> int:
    number = run.data.tags.get("flowml.attempt", "")
    return int(number) if number.isdecimal() else 1
