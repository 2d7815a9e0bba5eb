"""What MLflow holds for the whole process, by the user's word: the store, the experiment, the run that is active."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowml.background import BackgroundJob
from flowml.patches.mlflow import ACTIVE_EXPERIMENT_ID, ACTIVE_RUN_STACK

if TYPE_CHECKING:
    from mlflow import ActiveRun

ELSEWHERE = "flowml.parent_run_id"
"""The tag that leads to the run above, where that is in another experiment: MLflow's UI nests within one only."""

APART = "flowml.child."
"""Begins the tags that lead from a run to those below it in other experiments: its id follows, the value is theirs."""


@dataclass(frozen=True, slots=True)
class ChosenExperiment:
    """What ``mlflow.set_experiment`` was called with last in this process.

    Attributes:
        number: Counts the calls.
        uri: The store that it was called for; None if that is not known, for it was before flowml saw it.
        experiment_id: The experiment.
    """

    number: int
    uri: str | None
    experiment_id: str | None


_chosen = ChosenExperiment(0, None, None)


def note_chosen_experiment(experiment_id: str) -> None:
    """Note which experiment ``mlflow.set_experiment`` chose, and for which store: its id means nothing in another."""
    global _chosen  # noqa: PLW0603 - the one place that holds it, as MLflow's own is
    _chosen = ChosenExperiment(_chosen.number + 1, tracking_uri(), experiment_id)


def forget() -> None:
    """Forget what was chosen, where MLflow itself is made to forget it."""
    global _chosen  # noqa: PLW0603
    _chosen = ChosenExperiment(0, None, None)


def chosen_experiment() -> ChosenExperiment:
    """Return what the user chose by ``mlflow.set_experiment``."""
    return _chosen if _chosen.experiment_id else ChosenExperiment(_chosen.number, None, experiment_id())


def experiment_named() -> tuple[object, ...]:
    """Return what names MLflow's experiment now, in code and in the environment: it differs after each choice."""
    env = os.environ.get
    return chosen_experiment().number, env("MLFLOW_EXPERIMENT_NAME"), env("MLFLOW_EXPERIMENT_ID")


def experiment_id() -> str | None:
    """Return the experiment that is active in MLflow by ``mlflow.set_experiment``."""
    found: str | None = ACTIVE_EXPERIMENT_ID.get()
    return found


def tracking_uri() -> str:
    """Return the tracking URI that plain ``mlflow.*`` calls go to now."""
    import mlflow

    return str(mlflow.get_tracking_uri())


def absolute(uri: str) -> str:
    """Make a relative SQLite path absolute, so that it names the same file in every process."""
    prefix, separator, path = uri.partition(":///")
    is_file = path and path != ":memory:" and not path.startswith(("/", "file:"))
    return f"{prefix}:///{Path(path).resolve()}" if separator and prefix.startswith("sqlite") and is_file else uri


def own_stack() -> list[ActiveRun]:
    """Return MLflow's own stack of this thread; only outside flowml's sessions."""
    stack = ACTIVE_RUN_STACK.get()
    runs: list[ActiveRun] = stack.get() if stack else []
    return runs


def ignore_inherited_run_id() -> None:
    """Warn of a run id in the environment: MLflow would resume and rename that run in place of opening one."""
    if run_id := os.environ.pop("MLFLOW_RUN_ID", None):
        logging.getLogger("prefect.flowml").warning(
            "flowml: ignoring MLFLOW_RUN_ID=%s from the environment: MLflow would log everything into that run.", run_id
        )


def is_in_use() -> bool:
    """Tell whether the user has a run active, or an experiment chosen, by MLflow itself."""
    return bool(own_stack() or experiment_id() or os.environ.get("MLFLOW_EXPERIMENT_ID"))


def flush_traces(seconds: float) -> None:
    """Wait for the traces that MLflow sends by itself, if any: a worker process may be killed right after.

    Args:
        seconds: How long at most: MLflow itself tries for minutes, and goes on in the background.
    """
    if seconds and "mlflow.tracing.export.async_export_queue" in sys.modules:
        import mlflow

        with suppress(RuntimeError):  # the process ends, and MLflow waits for them then
            BackgroundJob(mlflow.flush_trace_async_logging).wait(seconds)
