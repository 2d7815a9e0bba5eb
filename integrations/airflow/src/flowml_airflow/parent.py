"""The run in MLflow that a DAG run has, for tasks that run in Airflow's own interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowml_airflow.process import environment_of
from flowml_airflow.versions import AirflowException

_MARK = "flowml-airflow: "
_LONGEST = 2000  # characters of what the other interpreter said
_PROGRAM = """
import json, sys, flowml
from mlflow import MlflowClient
told, parent = json.loads(sys.stdin.read()), flowml.airflow_parent()
if parent is None:
    sys.exit("no DAG run is known, or flowml is turned off there")
client = MlflowClient()
for key, value in told["params"].items():
    client.log_param(parent.run_id, key, value)
for key, value in told["metrics"].items():
    client.log_metric(parent.run_id, key, value)
for key, value in told["tags"].items():
    client.set_tag(parent.run_id, key, value)
print(told["mark"] + json.dumps([parent.run_id, parent.experiment_id, parent.url]))
"""


@dataclass(frozen=True)
class ParentRun:
    """The run that the flows of a DAG run are below.

    Attributes:
        run_id: Its id in MLflow.
        experiment_id: The id of its experiment.
        url: Its page in MLflow's UI; None if no server is known.
    """

    run_id: str
    experiment_id: str
    url: str | None
    _python: str = field(repr=False)
    _env: Mapping[str, str] = field(repr=False)

    def log(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log to the run, in the interpreter that has MLflow.

        Args:
            params: Parameters by their names.
            metrics: Metrics by their names.
            tags: Tags by their names.

        Raises:
            AirflowException: If MLflow does not take them.
        """
        _ask(self._python, self._env, params or {}, metrics or {}, tags or {})


def parent_run(python: str, env: Mapping[str, str] | None = None) -> ParentRun:
    """Return the MLflow run of the DAG run, for a task that runs in Airflow's own interpreter.

    Call it in a task: Airflow tells there by environment variables which DAG run it is.

    Args:
        python: The interpreter that has flowml.
        env: More environment variables for it, such as ``MLFLOW_TRACKING_URI``.

    Raises:
        AirflowException: If there is no such run, because MLflow cannot be reached or no DAG run is known.

    Example:
        >>> parent_run(python="/venvs/flowml/bin/python").log(metrics={"rows": 1200})
    """
    run_id, experiment_id, url = _ask(python, env or {}, {}, {}, {})
    return ParentRun(run_id, experiment_id, url, python, env or {})


def _ask(
    python: str,
    env: Mapping[str, str],
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> list[Any]:
    told = json.dumps({"params": dict(params), "metrics": dict(metrics), "tags": dict(tags), "mark": _MARK})
    environment = environment_of(os.environ, {}, env)
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that the DAG's author names
            [python, "-c", _PROGRAM], input=told, env=environment, capture_output=True, text=True, check=False
        )
    except OSError as error:
        msg = f"python cannot be {python!r}: {error}. Name an interpreter of this worker that has flowml."
        raise AirflowException(msg) from None
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            sys.stderr.write(done.stderr)
            found: list[Any] = json.loads(line.removeprefix(_MARK))
            return found
    msg = f"{python} could not tell of the DAG run's run in MLflow: {done.stderr.strip()[-_LONGEST:]}"
    raise AirflowException(msg)
