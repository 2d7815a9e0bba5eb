"""How long an MLflow that does not answer delays a flow that works in several processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from tests.conformance.proxy import Fault, Proxy

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
MAX_DELAY = 20.0  # seconds; what a busy machine adds is less


def seconds_of(environment: Mapping[str, str]) -> float:
    """Run the program; return how long its flow took."""
    command = [sys.executable, "-m", "tests.everywhere.pools"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = re.search(r"seconds=([\d.]+)", ended.stdout)
    assert found
    return float(found[1])


def test_all_pools_of_a_flow_wait_for_as_long_as_one(
    mlflow_server: str, project: Path, prefect_server: None, tmp_path: Path
) -> None:
    """Each process knows for how long the others have waited, and nothing of that is left in the end."""
    with Proxy(mlflow_server) as proxy:
        environment = {
            **os.environ,
            "FLOWML_HOME": str(project / "home"),
            "FLOWML_MAX_DELAY": str(MAX_DELAY),
            "FLOWML_TIMEOUT": str(MAX_DELAY),
            "FLOWML_TRACKING_URI": proxy.address,
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
            "TMPDIR": str(tmp_path),
        }
        healthy = seconds_of(environment)
        proxy.fail_from(1, Fault("hang"))
        assert MAX_DELAY < seconds_of(environment) < healthy + 2 * MAX_DELAY
    assert list(tmp_path.glob("*.waited")) == []
