"""``flows/serve.py``: the model answers before and after a promotion, at one address."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.ends.conftest import environment
from tests.serving.conftest import ROOT

from flowml.ops.servers.down import down

__all__ = ["environment"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@pytest.mark.slow
def test_it_asks_before_and_after_a_promotion(project: Path, environment: Mapping[str, str]) -> None:
    """Two versions answer, the second one better; `flowml down` ends the server."""
    told = {**environment, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    try:
        done = subprocess.run(
            [sys.executable, str(ROOT / "flows" / "serve.py")],
            cwd=project,
            env=told,
            capture_output=True,
            text=True,
            check=False,
            timeout=380,
        )
    finally:
        stopped = down()
    assert done.returncode == 0, done.stderr
    answers = ast.literal_eval(done.stdout.strip().splitlines()[-1])
    assert [answer["version"] for answer in answers] == ["1", "2"]
    assert answers[0]["accuracy"] < answers[1]["accuracy"]
    assert [server.name for server in stopped] == ["served@champion"]
