"""The steps of docs/moving/airflow.md run, and each gives what the DAG gave before."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from three import Airflow, Servers

from conftest import PYTHON

HERE = Path(__file__).parent


@pytest.mark.parametrize("dag, last", [("moving_0", "report"), ("moving_1", "report"), ("moving_2", "nightly")])
def test_a_step_gives_what_the_dag_gave(airflow: Airflow, dag: str, last: str) -> None:
    """As a DAG, with one task as a flow, and as a flow in one task."""
    run = airflow.trigger(dag)
    assert airflow.wait(dag, run) == "success"
    assert "mean 0.5" in str(airflow.xcom(dag, run, last, "return_value"))


def test_the_last_step_needs_no_airflow(servers: Servers, tmp_path: Path) -> None:
    """The flow runs by itself, as its deployment runs it."""
    command = [PYTHON, "-m", "flowml", "run", str(HERE / "dags/flows/nightly.py:nightly")]
    environment = {**os.environ, **servers.environment}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert servers.runs({"prefect.flow_name": "nightly", "prefect.state": "Completed"})
