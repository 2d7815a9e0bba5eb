"""``flowml.mask_logs``: log lines without secrets."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import flowml
from prefect import get_run_logger

@flowml.flow
def pipeline():
    get_run_logger().info("connecting to %s", "postgresql://ada:hunter2@db/churn")
    raise ValueError("no answer from postgresql://ada:hunter2@db/churn")

if "masked" in sys.argv:
    flowml.mask_logs()
pipeline(return_state=True)
"""


def said(*arguments: str) -> str:
    """Run the program, and return what it logged."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    return done.stderr


@pytest.mark.slow
def test_secrets_stand_in_no_line_of_prefects(project: object, prefect_server: object) -> None:
    """What the user's code logs and what an error says are masked, with the traceback; unasked, no log is changed."""
    assert "hunter2" in said()
    masked = said("masked")
    assert "hunter2" not in masked
    assert "connecting to postgresql://ada:********@db/churn" in masked
    assert "ValueError: no answer from postgresql://ada:********@db/churn" in masked
