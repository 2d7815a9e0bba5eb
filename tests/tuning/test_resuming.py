"""A search that is killed goes on, and several processes work on one."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL
from tests.pages.conftest import run_flowml
from tests.runs import runs_of

from flowml import Study

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

TRIALS = int(os.environ.get("FLOWML_TEST_TRIALS", "1000"))
KILLS = int(os.environ.get("FLOWML_TEST_KILLS", "1000")) // 50
PROGRAM = str(Path(__file__).with_name("killed.py"))


@contextmanager
def searching(*words: object, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the program, and end it in any case."""
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_LOGGING_LEVEL": "WARNING"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with subprocess.Popen(
        [sys.executable, PROGRAM, *map(str, words)], cwd=folder, env=environment, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something is so, while a process runs."""
    until = time.monotonic() + 120
    while not what():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < until
        time.sleep(0.01)


def trials_of(name: str, storage: str | None = None) -> list[optuna.trial.FrozenTrial]:
    """Read the trials; none, where there is no study yet."""
    try:
        return Study.find(name, storage).optuna.get_trials(deepcopy=False)
    except Exception:  # noqa: BLE001 - the file is being made
        return []


def check(name: str, total: int, kills: int, storage: str | None = None) -> Study:
    """Look that no trial is lost, doubled or wrongly stated."""
    study = Study.find(name, storage)
    counts = study.counts()
    assert counts["complete"] == total
    assert set(counts) <= {"complete", "interrupted"}
    trials = study.optuna.get_trials(deepcopy=False)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    interrupted = [trial for trial in trials if trial.state.name == "FAIL"]
    retried = Counter(
        tuple(trial.user_attrs["flowml.retry_of"]) for trial in trials if "flowml.retry_of" in trial.user_attrs
    )
    assert set(retried.values()) <= {1}, "one was taken up twice"
    assert len(retried) == len(interrupted)
    assert len(interrupted) <= kills * 8
    return study


def check_runs(client: MlflowClient, study: Study, task: str = "fit") -> None:
    """Look that each trial that ended has one finished run with its value; no other run says that it finished."""
    run_flowml(["sync"])
    run_flowml(["reap"])
    runs = runs_of(client, task)
    by_trial: dict[int, list[str]] = {}
    for run in runs:
        number = run.data.tags.get("flowml.trial")  # it may be killed before it is told, as it began
        assert number is not None or run.info.status in {"FAILED", "KILLED"}
        by_trial.setdefault(-1 if number is None else int(number), []).append(run.info.status)
    for trial in study.optuna.get_trials(deepcopy=False):
        if trial.state.name == "COMPLETE":
            assert len(by_trial[trial.number]) == 1
        else:
            assert by_trial.get(trial.number, []) in ([], ["FAILED"], ["KILLED"])


def test_a_killed_search_goes_on(client: MlflowClient, project: Path):
    """Killed in the middle and started again: all trials are there, those that ran are told as failed, once."""
    with searching(24, 4, 0.2, "again", folder=project) as process:
        wait_for(lambda: len(trials_of("again")) > 8, process)
        process.kill()
    with searching(24, 4, 0.01, "again", folder=project) as process:
        assert process.wait(120) == 0
    study = check("again", 24, kills=1)
    assert 0 < study.counts()["interrupted"] <= 4
    check_runs(client, study)


@pytest.mark.slow
def test_two_processes_work_on_one(client: MlflowClient, project: Path):
    """Two processes together make as many trials as one was asked for; what one does is no reason to give it back."""
    (project / "hold").touch()
    with (
        searching(12, 3, 0, "both", folder=project) as one,
        searching(12, 3, 0, "both", folder=project) as other,
    ):
        wait_for(
            lambda: len({trial.user_attrs.get("flowml.process") for trial in trials_of("both")} - {None}) == 2, one
        )
        (project / "hold").unlink()
        assert [each.wait(120) for each in (one, other)] == [0, 0]
    study = check("both", 12, kills=0)
    assert "interrupted" not in study.counts()
    check_runs(client, study)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_it_is_killed_twenty_times(client: MlflowClient, project: Path):
    """1,000 trials of 50 ms by 8 workers, killed 20 times: none is lost, doubled or wrongly stated.

    `FLOWML_TEST_TRIALS` is how many there are, `FLOWML_TEST_KILLS` fifty times the kills.
    """
    rng = random.Random(0)
    done = 0
    for _ in range(KILLS):
        with searching(TRIALS, 8, 0.05, "soak", folder=project) as process:
            until = done + rng.randint(1, 2 * TRIALS // (3 * KILLS))
            wait_for(lambda until=until: len(trials_of("soak")) > until, process)
            time.sleep(rng.random() * 0.1)  # at any moment, which no event marks
            process.kill()
        done = len(trials_of("soak"))
    with searching(TRIALS, 8, 0.05, "soak", folder=project) as process:
        assert process.wait(1200) == 0
    check_runs(client, check("soak", TRIALS, KILLS))
