"""A process that was there before the servers, and is there after them."""

from __future__ import annotations

import pytest

from tests.stack.conftest import Project

STORY = """
import os, subprocess, sys
from flowml import flow
from flowml.capture.engine import server
from flowml.stack import processes, state
from prefect.settings import get_current_settings

def seen():
    server.find()
    return get_current_settings().api.url, os.environ.get("PREFECT_API_URL")

assert seen() == (None, None)
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
one = [state.Server(name, f"http://127.0.0.1:{port}", processes.of(child.pid), "log")
       for name, port in (("prefect", 4299), ("mlflow", 5099))]
state.path().parent.mkdir()
state.write(state.Stack("1", *one, database="", artifacts="", host="127.0.0.1", ready=True))
assert seen() == ("http://127.0.0.1:4299/api",) * 2
child.communicate(b"end")
assert seen() == (None, None)
"""


@pytest.mark.e2e
def test_servers_are_found_and_forgotten_as_they_come_and_go(place: Project) -> None:
    """A notebook finds servers that start after it, and its flows do not fail when they are gone."""
    told = place.python("-c", STORY)
    assert told.returncode == 0, told.stderr
