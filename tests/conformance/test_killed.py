"""A program is killed at any moment: all that it had logged is in MLflow after a sync, once."""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest

from tests.conformance.bench import Bench, Ended, Running
from tests.conformance.compare import Facts
from tests.conformance.proxy import Fault, Proxy
from tests.ends.processes import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

_TOGETHER = 10  # programs whose home, and so whose sync, is one
_MANY_TOGETHER = 50  # the same where a thousand are killed: a sync waits for news from Prefect, however many there are
_AT_A_TIME = 2
_LONGEST = 3.0  # seconds after which a program is killed, from its first line on
_CHAMPION = re.compile(r" of <counting / fit-(\d+)>, \[[^\]]*'champion'")  # the version that has the alias
_MANY = 40  # numbers that it counts: more than it comes to


class Program(NamedTuple):
    """A program that logged until it was killed, or to its end.

    Attributes:
        case: The name of its experiment.
        logged: What it had logged, as it wrote it down.
        ended: How it ended.
    """

    case: str
    logged: list[dict[str, Any]]
    ended: Ended


class Plan(NamedTuple):
    """A program to run.

    Attributes:
        home: The name of its folder.
        case: The name of its experiment. Default: that of the folder.
        many: Up to which number it counts.
    """

    home: str
    case: str = ""
    many: int = _MANY


Act: TypeAlias = "Callable[[Proxy, Running, Path], object]"


def run_one(bench: Bench, proxy: Proxy, act: Act, plan: Plan) -> Program:
    """Run the program while something is done to it.

    Args:
        bench: What runs it.
        proxy: By which it reaches MLflow.
        act: Is given the proxy, the program, and its list.
        plan: Where, and what.
    """
    logged = bench.home(plan.home) / f"logged-{time.monotonic_ns()}"
    case, many = plan.case or plan.home, str(plan.many)
    with bench.started("counting", case, proxy.address, many, home=plan.home, LOGGED_LIST=str(logged)) as running:
        act(proxy, running, logged)
        ended = running.wait()
    text = logged.read_text() if logged.exists() else ""
    return Program(case, [json.loads(line) for line in text.splitlines()], ended)


def after(seconds: float) -> Act:
    """Kill it so long after it has logged something."""

    def kill(_: Proxy, running: Running, logged: Path) -> None:
        try:
            until(lambda: logged.exists() and logged.stat().st_size, "something is logged", every=0.01)
        except pytest.fail.Exception as late:
            pytest.fail(f"{late}\n{running.where()}")
        threading.Event().wait(seconds)  # the moment that is under test
        running.kill()

    return kill


def at_request(count: int) -> Act:
    """Kill it when so many requests have come in, before the last of them is handed on."""

    def kill(proxy: Proxy, running: Running, _: Path) -> None:
        proxy.do_at(count, running.kill)

    return kill


def is_there(each: dict[str, Any], facts: Facts) -> bool:
    """Tell whether MLflow has something that was logged."""
    run = each["run"] if each["run"] == "counting" else f"counting / {each['run']}"
    match each["what"]:
        case "param" | "tag" as kind:
            return f"{run}: {kind} {each['key']} = {each['value']}" in facts
        case "metric":
            return f"{run}: metric {each['key']} at step {each['step']} = {each['value']}" in facts
        case "file":
            return any(fact.startswith(f"{run}: file {each['path']} is ") for fact in facts)
        case _:
            versions = [fact for fact in facts if fact.startswith("version of <case>-line: READY, ")]
            made = any(fact.startswith(f"{run}: made <model ") for fact in facts)
            champions = [int(found[1]) for fact in versions if (found := _CHAMPION.search(fact))]
            # It is the champion, or one that came after it.
            is_followed = len(champions) == 1 and champions[0] >= int(run.rpartition("-")[2])
            return made and any(f" of <{run}>, " in fact for fact in versions) and is_followed


def expect_all(bench: Bench, programs: Sequence[Program]) -> None:
    """Expect all that was logged, once; where there is no sync, that nothing is there twice."""
    missing, more = list[str](), list[str]()
    for program in programs:
        facts = bench.read(program.case)
        missing += [f"{program.case}: {each}" for each in program.logged if not is_there(each, facts)]
        more += [f"{program.case}: {fact}" for fact, count in facts.items() if count > 1]
    assert more == [], "\n".join(more)
    assert any(program.logged for program in programs)
    if missing and not bench.tracker.can_sync():
        every = sum(len(program.logged) for program in programs)
        pytest.skip(f"needs sync: {len(missing)} of {every} logged things are missing")
    assert missing == [], "\n".join(missing)


def kill_many(bench: Bench, home: str, acts: Sequence[Act]) -> None:
    """Run a program for each way of killing it, two at a time, sync, and look at what they left together."""
    with ExitStack() as opened, ThreadPoolExecutor(_AT_A_TIME) as pool:
        proxies = [opened.enter_context(Proxy(bench.mlflow.address)) for _ in acts]
        running = [
            pool.submit(run_one, bench, proxy, act, Plan(home, f"{home}-{number}"))
            for number, (proxy, act) in enumerate(zip(proxies, acts, strict=True))
        ]
        programs = [each.result() for each in running]
        for proxy in proxies:
            proxy.heal()
        if bench.tracker.can_sync():
            synced = bench.sync(home)
            assert synced.code == 0, synced.log
        expect_all(bench, programs)


def at_random(seed: int, count: int) -> list[Act]:
    """Return kills at random moments."""
    moments = random.Random(seed)
    return [after(moments.uniform(0, _LONGEST)) for _ in range(count)]


def test_killed_at_random_moments(bench: Bench) -> None:
    """Ten programs of one folder, killed at any moment."""
    kill_many(bench, "killed-random", at_random(1, _TOGETHER))


def test_killed_at_requests(bench: Bench) -> None:
    """Ten programs of one folder, each killed in the middle of another request."""
    kill_many(bench, "killed-request", [at_request(count) for count in (1, 2, 3, 4, 5, 8, 13, 21, 34, 40)])


@pytest.mark.slow
def test_killed_while_mlflow_is_gone(bench: Bench) -> None:
    """What a program logged without ever reaching MLflow is kept over its kill."""

    def kill(proxy: Proxy, running: Running, logged: Path) -> None:
        proxy.fail_from(1, Fault("refuse"))
        after(1)(proxy, running, logged)

    kill_many(bench, "killed-gone", [kill, kill])


def test_a_sync_that_is_killed(bench: Bench) -> None:
    """Where the sync is killed too, at any request of its own, the next one sends the rest, and nothing twice."""
    if not bench.tracker.can_sync():
        pytest.skip("needs sync")
    home = "killed-sync"
    with Proxy(bench.mlflow.address) as proxy:
        program = run_one(bench, proxy, at_request(9), Plan(home))
        for count in (1, 2, 3, 5, 8, 13):
            with bench.started("sync", home, proxy.address) as syncing:
                proxy.do_at(len(proxy.requests) + count, syncing.kill)
                syncing.wait()
        synced = bench.sync(home, proxy.address)
        assert synced.code == 0, synced.log
    expect_all(bench, [program])


@pytest.mark.soak
@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("seed", range(2, 2 + int(os.environ.get("FLOWML_TEST_KILLS", "1000")) // _MANY_TOGETHER))
def test_killed_a_thousand_times(bench: Bench, seed: int) -> None:
    """The same of a thousand programs, fifty in each folder; `FLOWML_TEST_KILLS` is how many."""
    requests = random.Random(-seed)
    half = _MANY_TOGETHER // 2
    kill_many(
        bench,
        f"killed-often-{seed}",
        [*at_random(seed, half), *(at_request(requests.randint(1, 60)) for _ in range(half))],
    )
