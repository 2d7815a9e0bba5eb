"""Who runs when, and what the clock says: contestants in turn, round by round, medians over the rounds."""

from __future__ import annotations

import gc
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from stores import Store

Rows = list[dict[str, str | float]]


@dataclass(frozen=True)
class Body:
    """What happened inside a flow's body, by `time.perf_counter`."""

    began: float
    calls: float  # seconds inside the calls of the tasks
    ended: float


@dataclass(frozen=True)
class Turn:
    """What one turn of a contestant took, in seconds.

    Attributes:
        calls: Inside the calls of the tasks: what the user's code waits for.
        body: From the first call to the end of the flow's body.
        after: From there until the flow's call has returned and everything is durable in MLflow.
        cpu: Of the processor's time, in all threads of this process; not a server's.
    """

    calls: float
    body: float
    after: float
    cpu: float


@dataclass(frozen=True)
class Contestant:
    """A way to run tasks.

    Attributes:
        name: What it is.
        run: Runs a flow with so many tasks.
        store: Where it writes; None for one that writes nothing.
    """

    name: str
    run: Callable[[int], Body]
    store: Store | None = None

    def turn(self, tasks: int) -> Turn:
        """Run once, by the clock."""
        if self.store:
            self.store.use()
        settle()
        used = time.process_time()
        body = self.run(tasks)
        if self.store:
            self.store.make_durable()
        return Turn(body.calls, body.ended - body.began, time.perf_counter() - body.ended, time.process_time() - used)


@dataclass(frozen=True)
class Times:
    """What one contestant's turns took, in seconds, round by round.

    Attributes:
        calls: Inside the calls of the tasks.
        whole: From the first call until everything is durable in MLflow, less what bare Prefect takes to end a flow.
        cpu: Of the processor's time.
    """

    calls: Sequence[float]
    whole: Sequence[float]
    cpu: Sequence[float]


def compete(contestants: Iterable[Contestant], tasks: int, rounds: int, *, warm_up: int) -> dict[str, Times]:
    """Let each have its turn in each round; the first contestant is bare Prefect."""
    all_of_them = list(contestants)
    turns: dict[str, list[Turn]] = {contestant.name: [] for contestant in all_of_them}
    with without_heartbeat():
        for contestant in all_of_them:
            contestant.turn(warm_up)  # first imports and connections are nobody's cost
        for _ in range(rounds):
            for contestant in all_of_them:
                turns[contestant.name].append(contestant.turn(tasks))
    ending = statistics.median(turn.after for turn in turns[all_of_them[0].name])
    return {
        name: Times(
            [turn.calls for turn in taken],
            [turn.body + max(0.0, turn.after - ending) for turn in taken],
            [turn.cpu for turn in taken],
        )
        for name, taken in turns.items()
    }


def settle() -> None:
    """Wait until Prefect's server has written what it was told: a flow that begins before waits for its database."""
    from prefect.client.orchestration import get_client

    before = -1
    with get_client(sync_client=True) as client:
        while (now := client.request("POST", "/task_runs/count", json={}).json()) != before:
            before = now
            time.sleep(1.0)
    gc.collect()


def without_heartbeat() -> AbstractContextManager[object]:
    """Turn Prefect's heartbeat off: it makes every synchronous flow last a whole number of seconds."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    return temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})


def ratio(mine: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the ratios within a round, which load from elsewhere disturbs least."""
    return statistics.median(one / other for one, other in zip(mine, theirs, strict=True))


def count(contestants: Iterable[Contestant], expected: int, *, params: int, metrics: int) -> dict[str, int]:
    """Count the complete runs in MLflow, so that nobody wins by not writing.

    Raises:
        SystemExit: If somebody did.
    """
    found = {each.name: each.store.complete(params, metrics) for each in contestants if each.store}
    insist(found, dict.fromkeys(found, expected))
    return found


def insist(found: Mapping[str, object], expected: Mapping[str, object]) -> None:
    """End the benchmark unless everybody wrote everything.

    Raises:
        SystemExit: If somebody did not.
    """
    if found != expected:
        msg = f"there should be {expected} in MLflow, not {found}"
        raise SystemExit(msg)


def rows_of(times: Mapping[str, Times], tasks: int, *, bare: str, hand: str) -> Rows:
    """Return a row for each contestant: milliseconds for a task, and ratios."""
    each = 1000 / tasks
    return [
        {
            "contestant": name,
            "ms in a call": statistics.median(took.calls) * each,
            "/ bare": ratio(took.calls, times[bare].calls),
            "ms until all is in MLflow": statistics.median(took.whole) * each,
            "/ hand-written": ratio(took.whole, times[hand].whole),
            "ms of CPU": statistics.median(took.cpu) * each,
        }
        for name, took in times.items()
    ]


def described(options: Namespace) -> str:
    """Say what was measured."""
    store = "embedded SQLite"
    if options.store == "http":
        store = f"mlflow server, {options.workers or 'default'} workers"
    disk = "RAM disk" if str(options.folder or "").startswith("/dev/shm") else "disk"  # noqa: S108 - its name
    body = f", body of {1000 * options.body:g} ms" if getattr(options, "body", 0) else ""
    return f"{store}, databases on {disk}{body}"
