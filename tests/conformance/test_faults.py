"""MLflow fails at any call of a flow: its user sees nothing of that, and after a sync MLflow has all it would have."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.conformance.bench import Bench, Ended
from tests.conformance.compare import Facts, difference
from tests.conformance.proxy import Fault, Proxy
from tests.conformance.tracker import MAX_DELAY

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

FAULTS = {
    "refused": Fault("refuse", seconds=1),
    "hangs": Fault("hang"),
    "slow": Fault("slow", seconds=1.5),
    "request-cut": Fault("cut request"),
    "answer-cut": Fault("cut answer"),
    "429": Fault("status", status=429, retry_after=1),
    "500": Fault("status", status=500),
    "503": Fault("status", status=503, retry_after=1),
    "answer-lost": Fault("lose answer"),
}
OUTAGES = {
    "refused": Fault("refuse"),
    "hangs": Fault("hang"),
    "503": Fault("status", status=503, retry_after=3600),
    "answers-lost": Fault("lose answer"),
}
QUICK = {"answer-lost"}  # of these, a call in a quick run
CALLS = 1  # of each fault, in a quick run
_APART = 15  # calls from one that fails to the next, where many fail in one run
_REACHED = 0.9  # of the calls without faults: how many there are differs a little from run to run
_AT_A_TIME = 2
_PROCESSES = 2  # the program, and that of its pool
_MARGIN = 90.0  # seconds by which a busy machine may be slower


@dataclass(frozen=True, slots=True)
class Baseline:
    """A run without faults.

    Attributes:
        ended: What the user saw, and how long it took.
        facts: What MLflow has.
        calls: How many requests there were.
    """

    ended: Ended
    facts: Facts
    calls: int


def run_without_faults(bench: Bench, case: str, *arguments: str, **more: str) -> Baseline:
    """Run the reference."""
    with Proxy(bench.mlflow.address) as proxy:
        ended = bench.run("reference", case, proxy.address, *arguments, **more)
        assert ended.code == 0, ended.log
        assert proxy.requests, ended.log
        assert "on this disk" not in ended.log  # all is in MLflow, by its own
        return Baseline(ended, bench.read(case), len(proxy.requests))


@pytest.fixture(scope="session")
def plain(bench: Bench) -> Baseline:
    """The reference in threads and on an event loop."""
    return run_without_faults(bench, "case-plain")


@pytest.fixture(scope="session")
def pooled(bench: Bench) -> Baseline:
    """The same, and in a pool of processes."""
    return run_without_faults(bench, "case-pooled", "pooled")


@pytest.fixture(scope="session")
def by_hand(bench: Bench) -> Baseline:
    """The same as the first, with plain calls of MLflow's."""
    return run_without_faults(bench, "case-by-hand", FAULTS_BY_HAND="1")


def check(
    bench: Bench,
    baseline: Baseline,
    case: str,
    fail: Callable[[Proxy], None],
    *arguments: str,
    reasons: int = 1,
    **more: str,
) -> list[str]:
    """Run the reference while MLflow fails, then let it work again and sync.

    Args:
        bench: What runs it.
        baseline: What it must be like.
        case: A name for it.
        fail: Tells the proxy how to fail.
        arguments: Of the reference.
        reasons: For how many a process may say that something waits.
        more: Added to its environment.

    Returns:
        What MLflow has more or less than it should, after a sync if there is one.
    """
    with Proxy(bench.mlflow.address) as proxy:
        fail(proxy)
        ended = bench.run("reference", case, proxy.address, *arguments, **more)
        assert (ended.code, ended.seen) == (0, baseline.ended.seen), ended.log
        assert ended.seconds < baseline.ended.seconds + 3 * MAX_DELAY + _MARGIN, ended.log
        assert ended.log.count("could not log everything") <= reasons * _PROCESSES, ended.log  # each once
        proxy.heal()
        if bench.tracker.can_sync():
            synced = bench.sync(case, proxy.address)
            assert synced.code == 0, synced.log
    return difference(baseline.facts, bench.read(case))


def expect_none(bench: Bench, found: dict[str, list[str]]) -> None:
    """Expect no difference in any case; where there is no sync, tell them as the reason that it is needed."""
    lines = [f"{case}: {line}" for case, lines in found.items() for line in lines]
    if lines and not bench.tracker.can_sync():
        pytest.skip(f"needs sync: {len(lines)} facts differ in {sum(map(bool, found.values()))} of {len(found)} cases")
    assert lines == [], "\n".join(lines)


def at_calls(
    bench: Bench, baseline: Baseline, name: str, runs: list[list[int]], *arguments: str, **more: str
) -> tuple[dict[str, list[str]], set[int]]:
    """Let some calls fail in each of several runs, two of them at a time.

    Returns:
        What differs, by the case; and the calls that failed.
    """
    failed = set[int]()

    def one(calls: list[int]) -> tuple[str, list[str]]:
        words = [f"{len(calls)}-from-{calls[0]}", *arguments, *more]
        case = "-".join(["case", name, *words]).replace("_", "-")
        proxies = list[Proxy]()

        def fail(proxy: Proxy) -> None:
            proxies.append(proxy)
            for call in calls:
                proxy.fail_at(call, FAULTS[name])

        reasons = min(2, len(calls))  # no answer, or a run above that is not created
        found = check(bench, baseline, case, fail, *arguments, reasons=reasons, **more)
        failed.update(number for proxy in proxies for number, _ in proxy.failed)
        return case, found

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return dict(pool.map(one, runs)), failed


def test_runs_without_faults_are_equal(bench: Bench, plain: Baseline) -> None:
    """The reference logs the same each time, so that any difference is a fault's."""
    again = run_without_faults(bench, "case-plain-again")
    assert again.ended.seen == plain.ended.seen
    assert difference(plain.facts, again.facts) == []


@pytest.mark.parametrize(
    "name", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in FAULTS]
)
def test_a_call_fails(bench: Bench, plain: Baseline, name: str) -> None:
    """Where one call fails, some of all calls, nothing is lost and nothing there twice."""
    calls = random.Random(name).sample(range(1, plain.calls + 1), CALLS)
    found, _ = at_calls(bench, plain, name, [[call] for call in sorted(calls)])
    expect_none(bench, found)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", FAULTS)
def test_each_call_fails(bench: Bench, pooled: Baseline, name: str) -> None:
    """The same of every call, with a pool: those far apart in one run, then alone those that it did not reach."""
    runs = [list(range(first, pooled.calls + 1, _APART)) for first in range(1, _APART + 1)]
    found, failed = at_calls(bench, pooled, name, runs, "pooled")
    missed = [[call] for call in range(1, pooled.calls + 1) if call not in failed]
    alone, failed_alone = at_calls(bench, pooled, name, missed, "pooled")
    expect_none(bench, found | alone)
    assert len(failed | failed_alone) > _REACHED * pooled.calls


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["500", "answer-lost"])
def test_a_call_fails_beside_plain_calls(bench: Bench, by_hand: Baseline, name: str) -> None:
    """What the user's code logs by plain MLflow is there too: MLflow's client tries those calls again by itself."""
    runs = [[call] for call in range(1, by_hand.calls + 1, 3)]
    found, _ = at_calls(bench, by_hand, name, runs, FAULTS_BY_HAND="1")
    expect_none(bench, found)


def outage(bench: Bench, baseline: Baseline, name: str, share: float, *arguments: str) -> None:
    """Let MLflow fail from a call on, until the program is over."""
    case = f"case-out-{name}-{share:g}{''.join(f'-{word}' for word in arguments)}".replace(".", "-")
    first = 1 + int(share * baseline.calls)
    found = check(bench, baseline, case, lambda proxy: proxy.fail_from(first, OUTAGES[name]), *arguments)
    expect_none(bench, {case: found})


@pytest.mark.parametrize(
    "name, share",
    [
        ("refused", 0.0),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in [("hangs", 0.5), ("answers-lost", 0.3)]),
    ],
)
def test_an_outage(bench: Bench, plain: Baseline, name: str, share: float) -> None:
    """Where MLflow is gone until the program is over, a sync brings all of it."""
    outage(bench, plain, name, share)


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_in_a_pool(bench: Bench, pooled: Baseline, name: str) -> None:
    """Where it is gone before the processes of a pool begin, what they log is kept too, and they wait no longer."""
    outage(bench, pooled, name, 0.05, "pooled")


@pytest.mark.slow
def test_an_outage_in_a_pool_whose_tasks_are_summed_up(bench: Bench) -> None:
    """The same of tasks without runs, which the processes of a pool note on that of their flow."""
    summed_up = {"FAULTS_CHILDREN": "failed"}
    baseline = run_without_faults(bench, "case-summed", "pooled", **summed_up)
    found = check(
        bench, baseline, "case-summed-out", lambda proxy: proxy.fail_from(8, OUTAGES["refused"]), "pooled", **summed_up
    )
    timed = (".seconds.", "children/cube.csv", "mlflow.note.content")  # durations, which differ from run to run
    expect_none(bench, {"case-summed-out": [line for line in found if not any(word in line for word in timed)]})


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("name", OUTAGES)
def test_each_outage(bench: Bench, pooled: Baseline, name: str, share: float) -> None:
    """The same of each kind at many moments, with a pool of processes."""
    outage(bench, pooled, name, share, "pooled")
