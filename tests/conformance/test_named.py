"""Mistakes that trackers make with what they keep for later, one test each: none of them is made here."""

from __future__ import annotations

import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.conformance.bench import Bench, Running
from tests.conformance.compare import difference
from tests.conformance.proxy import Fault, Proxy
from tests.conformance.test_faults import Baseline, pooled  # noqa: F401 - a fixture
from tests.conformance.test_killed import Act, Plan, Program, at_request, expect_all, run_one

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

GONE = Fault("refuse")


@pytest.fixture(scope="module", autouse=True)
def has_sync(bench: Bench) -> None:
    """Skip what there is nothing to sync with."""
    if not bench.tracker.can_sync():
        pytest.skip("needs sync")


def gone_from(count: int) -> Act:
    """Let MLflow be gone from a request on, until the proxy is healed."""

    def go(proxy: Proxy, _: Running, __: Path) -> None:
        proxy.fail_from(count, GONE)

    return go


def let_it_run(_: Proxy, __: Running, ___: Path) -> None:
    """Do nothing to it."""


def run_offline(bench: Bench, proxy: Proxy, case: str, *, many: int = 4, first: int = 1) -> Program:
    """Run the program to its end, with MLflow gone from a request on; it is back afterwards."""
    proxy.fail_from(first, GONE)
    program = run_one(bench, proxy, let_it_run, Plan(case, many=many))
    assert program.ended.code == 0, program.ended.log
    assert program.ended.seen == "done"
    proxy.heal()
    return program


def sync(bench: Bench, home: str, address: str) -> str:
    """Sync all, and return what was said."""
    synced = bench.sync(home, address)
    assert synced.code == 0, synced.log
    assert "Traceback" not in synced.log
    return synced.log


def journals(bench: Bench, home: str) -> list[Path]:
    """Return the files in which flowml keeps what is not sent."""
    return sorted((bench.home(home) / ".flowml" / "journal").glob("*.db"))


def beside(journal: Path) -> Path:
    """Return a name that another journal of the same folder could have."""
    return journal.with_name(f"{journal.stem[:-8]}00000000{journal.suffix}")


def rows_of(journal: Path) -> list[str]:
    """Return all that is in a journal."""
    with closing(sqlite3.connect(journal)) as database:
        return list(database.iterdump())


def test_the_buffer_was_not_flushed_and_the_log_is_empty(bench: Bench) -> None:
    """A program that ends without having reached MLflow says so, and by what its runs are sent; then they are there."""
    with Proxy(bench.mlflow.address) as proxy:
        program = run_offline(bench, proxy, "named-flush")
        assert "flowml sync" in program.ended.log
        sync(bench, "named-flush", proxy.address)
    expect_all(bench, [program])


def test_delete_then_sync_gives_a_duplicate_key(bench: Bench) -> None:
    """A run that somebody deleted meanwhile stays deleted, and keeps nothing else back."""
    client = MlflowClient(bench.mlflow.address)
    with Proxy(bench.mlflow.address) as proxy:
        program = run_one(bench, proxy, at_request(12), Plan("named-delete"))
        experiment = client.get_experiment_by_name(program.case)
        deleted = {run.info.run_id for run in client.search_runs([experiment.experiment_id])}
        assert deleted
        for run_id in deleted:
            client.delete_run(run_id)
        sync(bench, "named-delete", proxy.address)
        sync(bench, "named-delete", proxy.address)
    assert {client.get_run(run_id).info.lifecycle_stage for run_id in deleted} == {"deleted"}
    assert [fact for fact, count in bench.read(program.case).items() if count > 1] == []


@pytest.mark.slow
def test_a_second_sync_duplicates_artifacts(bench: Bench) -> None:
    """Two syncs at once send all, once; a third one has nothing to do, and writes nothing."""
    with Proxy(bench.mlflow.address) as proxy:
        program = run_offline(bench, proxy, "named-second")
        with ThreadPoolExecutor(2) as pool:
            both = list(pool.map(lambda _: bench.sync("named-second", proxy.address), range(2)))
        assert ["Traceback" in each.log for each in both] == [False, False]
        sync(bench, "named-second", proxy.address)
        expect_all(bench, [program])
        before, requests = bench.read(program.case), len(proxy.requests)
        sync(bench, "named-second", proxy.address)
        wrote = [each for each in proxy.requests[requests:] if each.method != "GET" and "/search" not in each.path]
    assert wrote == []
    assert difference(before, bench.read(program.case)) == []


@pytest.mark.slow
def test_half_of_the_offline_runs_of_a_cluster_cannot_be_synced(bench: Bench, pooled: Baseline) -> None:  # noqa: F811
    """What worker processes logged while MLflow was gone is as complete as what the flow's own process did."""
    with Proxy(bench.mlflow.address) as proxy:
        proxy.fail_from(1, GONE)
        ended = bench.run("reference", "named-cluster", proxy.address, "pooled")
        assert (ended.code, ended.seen) == (0, pooled.ended.seen), ended.log
        proxy.heal()
        sync(bench, "named-cluster", proxy.address)
    assert difference(pooled.facts, bench.read("named-cluster")) == []


@pytest.fixture(scope="module")
def half_online(bench: Bench) -> Program:
    """A program that lost MLflow in the middle, and was synced."""
    with Proxy(bench.mlflow.address) as proxy:
        program = run_offline(bench, proxy, "named-half", many=8, first=20)
        sync(bench, "named-half", proxy.address)
    return program


@pytest.mark.slow
def test_a_summary_is_stuck_at_an_old_value(bench: Bench, half_online: Program) -> None:
    """What MLflow shows of each metric is its last value, whichever way that came."""
    facts = bench.read(half_online.case)
    expected = {f"counting / count-{number}: metric count = {number + 0.2}" for number in range(8)}
    assert expected - set(facts) == set()
    assert {f"counting / count-{number}: is FINISHED" for number in range(8)} - set(facts) == set()


def test_metrics_are_missing(bench: Bench, half_online: Program) -> None:
    """Each step of each metric is there."""
    assert sum(each["what"] == "metric" for each in half_online.logged) == 24
    expect_all(bench, [half_online])


@pytest.mark.slow
def test_runs_overwrite_each_other(bench: Bench) -> None:
    """Two programs of one name, in one folder at the same moment without MLflow, have a run each for everything."""
    home = "named-overwrite"
    with Proxy(bench.mlflow.address) as proxy, ThreadPoolExecutor(2) as pool:
        proxy.fail_from(1, GONE)
        both = [pool.submit(run_one, bench, proxy, let_it_run, Plan(home, many=4)) for _ in range(2)]
        assert [each.result().ended.code for each in both] == [0, 0]
        proxy.heal()
        sync(bench, home, proxy.address)
    facts = bench.read(home)
    assert facts["counting: is FINISHED"] == 2
    for number in range(4):
        assert facts[f"counting / count-{number}: metric count at step 1 = {number + 0.1}"] == 2
        assert facts[f"counting / count-{number}: param twice = {number * 2}"] == 2


@pytest.mark.slow
def test_the_journal_of_a_crashed_script_raises(bench: Bench) -> None:
    """Files of programs that were killed when they had just made them keep nothing back."""
    home = "named-crashed"
    with Proxy(bench.mlflow.address) as proxy:
        program = run_one(bench, proxy, at_request(15), Plan(home))
        (found, *_) = journals(bench, home)
        beside(found).touch()
        sync(bench, home, proxy.address)
    expect_all(bench, [program])


@pytest.mark.slow
def test_a_journal_of_another_version(bench: Bench) -> None:
    """A file of a newer flowml is named and left as it is, for that one to send; the other files are sent."""
    home = "named-version"
    with Proxy(bench.mlflow.address) as proxy:
        program = run_offline(bench, proxy, home)
        (found, *_) = journals(bench, home)
        other = beside(found)
        with closing(sqlite3.connect(found)) as left:
            left.execute("VACUUM INTO ?", [str(other)])
        with closing(sqlite3.connect(other)) as newer:
            newer.execute("UPDATE about SET value = '99999' WHERE name = 'form'")
            newer.commit()
        content = rows_of(other)
        synced = bench.sync(home, proxy.address)
    assert "Traceback" not in synced.log
    assert other.name in synced.log
    assert synced.code != 0  # not all is sent
    assert rows_of(other) == content
    expect_all(bench, [program])


def test_models_are_left_out(bench: Bench) -> None:
    """A model that was made without MLflow is READY, has its files, and is a version with all that belongs to it."""
    with Proxy(bench.mlflow.address) as proxy:
        program = run_offline(bench, proxy, "named-models", many=2)
        sync(bench, "named-models", proxy.address)
    assert {"run": "fit-0", "what": "model"} in program.logged
    expect_all(bench, [program])
    of_models = [fact for fact in bench.read(program.case) if fact.startswith("model ")]
    files = {fact.partition(": file ")[2].partition(" is ")[0] for fact in of_models}
    assert {"MLmodel", "model.skops", "requirements.txt"} <= files
    assert [fact for fact in of_models if ": is READY, of <counting / fit-0>" in fact] != []


def test_absolute_paths_break_on_another_machine(bench: Bench) -> None:
    """What was kept can be sent from wherever its folder was moved to."""
    with Proxy(bench.mlflow.address) as proxy:
        program = run_offline(bench, proxy, "named-moved")
        shutil.move(bench.home("named-moved"), bench.folder / "named-elsewhere")
        sync(bench, "named-elsewhere", proxy.address)
    expect_all(bench, [program])


@pytest.mark.slow
def test_18_processes_in_one_folder(bench: Bench) -> None:
    """Eighteen programs that keep what they log in one folder at the same time lose nothing of it."""
    home, many = "named-18", 18
    with Proxy(bench.mlflow.address) as proxy, ThreadPoolExecutor(many) as pool:
        proxy.fail_from(40, GONE)  # they reach MLflow for a while
        running = [
            pool.submit(run_one, bench, proxy, let_it_run, Plan(home, f"{home}-{number}", many=2))
            for number in range(many)
        ]
        programs = [each.result() for each in running]
        assert {program.ended.code for program in programs} == {0}
        proxy.heal()
        sync(bench, home, proxy.address)
    expect_all(bench, programs)


@pytest.mark.slow
def test_online_and_offline_at_the_same_time(bench: Bench) -> None:
    """A sync beside a program that works, and another one that cannot reach MLflow, takes nothing away from either."""
    home = "named-both"
    with (
        Proxy(bench.mlflow.address) as good,
        Proxy(bench.mlflow.address) as bad,
        ThreadPoolExecutor(2) as pool,
    ):
        bad.fail_from(1, GONE)
        offline = pool.submit(run_one, bench, bad, let_it_run, Plan(home, f"{home}-off", many=4))
        online = pool.submit(run_one, bench, good, let_it_run, Plan(home, f"{home}-on", many=16))
        while not (offline.done() and online.done()):
            meanwhile = bench.sync(home, good.address)
            assert "Traceback" not in meanwhile.log
        programs = [offline.result(), online.result()]
        assert [program.ended.code for program in programs] == [0, 0]
        bad.heal()
        sync(bench, home, good.address)
    expect_all(bench, programs)
