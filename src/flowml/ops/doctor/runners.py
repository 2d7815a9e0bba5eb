"""Whether tasks reach Prefect and MLflow from where they run: a worker process is asked."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import prefect
from prefect.settings import PREFECT_API_URL

from flowml.ops.doctor.findings import Finding, Setup
from flowml.ops.doctor.reach import mlflow_problem, prefect_problem
from flowml.secrets.uris import without_credentials

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner


_LEVEL = "PREFECT_LOGGING_LEVEL"
_PATIENCE = 180.0  # seconds; a worker process imports Prefect and MLflow first
_REMEDY = "Workers need the address, the credentials and the way there: set the variables where they start."


def task_runner(setup: Setup) -> Iterator[Finding]:
    """Ask in a worker process of the flow's task runner, or of a process pool where no flow is named."""
    uri = without_credentials(setup.uri)
    if setup.is_folder:
        yield Finding("ok", "Not looked at: runs cannot be kept in a folder")
        return
    if setup.api is None:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            problems = {"MLflow": pool.submit(mlflow_problem, uri).result(_PATIENCE)}
        where = "a worker process"
    elif prefect_problem(setup.api):
        yield Finding("ok", "Not looked at: Prefect's API is not reached from here either")
        return
    else:
        runner = _runner(setup)
        where = type(runner).__name__
        try:
            problems = _ask(runner, uri)
        except Exception as error:  # noqa: BLE001 - of Prefect, of a cluster, of the system
            reason = (str(error) or type(error).__name__).partition("\n")[0][:300]
            yield Finding("error", f"No task runs under {where}: {type(error).__name__}: {reason}", "Start it first.")
            return
    for name, problem in problems.items():
        if problem:
            yield Finding("error", f"From inside {where}: {problem}", _REMEDY)
        else:
            yield Finding("ok", f"{name} is reached from inside {where}")


def _runner(setup: Setup) -> TaskRunner[Any]:
    from prefect.task_runners import ProcessPoolTaskRunner

    return setup.flow.task_runner if setup.flow else ProcessPoolTaskRunner(max_workers=1)


def _ask(runner: TaskRunner[Any], uri: str) -> dict[str, str | None]:
    """Run one task under a task runner: Prefect's own flow and task, which leave no run in MLflow."""
    import prefect

    from flowml.ops.doctor.runners import look

    @prefect.flow(name="flowml-doctor", task_runner=runner, persist_result=False, log_prints=False)
    def doctor() -> dict[str, str | None]:
        problems: dict[str, str | None] = look.submit(uri).result(timeout=_PATIENCE)
        return problems

    with _quiet():
        return doctor()


@contextmanager
def _quiet() -> Iterator[None]:
    from prefect.settings import PREFECT_LOGGING_LEVEL, temporary_settings

    before = os.environ.get(_LEVEL)
    os.environ[_LEVEL] = "CRITICAL"  # a worker process sets its logging up before it is given these settings
    logging.disable(logging.CRITICAL)
    try:
        with temporary_settings({PREFECT_LOGGING_LEVEL: "CRITICAL"}):
            yield
    finally:
        logging.disable(logging.NOTSET)
        os.environ.pop(_LEVEL)
        os.environ |= {} if before is None else {_LEVEL: before}


@prefect.task(name="look", persist_result=False)
def look(uri: str) -> dict[str, str | None]:
    """Tell what is wrong with Prefect and MLflow as seen from here."""
    api = PREFECT_API_URL.value()
    missing = "no Prefect server is known here: a server of its own is started in each worker."
    return {"Prefect": prefect_problem(api) if api else missing, "MLflow": mlflow_problem(uri)}
