"""Processes that are started, known again, and ended to the last child."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import psutil
import pytest

from flowml.stack import processes

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def family(folder: Path, mark: str) -> tuple[subprocess.Popen[bytes], psutil.Process]:
    """Start a process whose child is in a session of its own."""
    log = folder / "log"
    parent = processes.start(
        [sys.executable, "-c", PARENT], environment=dict(os.environ), folder=folder, log=log, mark=mark
    )
    while not log.read_text().endswith("\n"):
        assert parent.poll() is None
    return parent, psutil.Process(int(log.read_text()))


@pytest.mark.parametrize("killed", [False, True], ids=["whole", "parent was killed"])
def test_all_that_a_process_started_is_ended(tmp_path: Path, *, killed: bool) -> None:
    """Also a child in a session of its own, and also when its parent is gone already."""
    mark = uuid.uuid4().hex
    parent, child = family(tmp_path, mark)
    known = processes.of(parent.pid)
    assert known.is_alive()
    if killed:
        parent.kill()
        parent.wait()
    processes.stop([known], mark)
    assert not known.is_alive()
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_process_that_has_the_number_by_chance_is_left_alone(tmp_path: Path) -> None:
    """A number that was used again names no process of ours."""
    parent, child = family(tmp_path, mark := uuid.uuid4().hex)
    known = processes.of(parent.pid)
    stranger = processes.Process(parent.pid, known.started + "0")
    assert not stranger.is_alive()
    processes.stop([stranger], "another mark")
    assert known.is_alive()
    assert child.is_running()
    processes.stop([known], mark)


def test_a_dead_child_that_nobody_asked_for_is_dead() -> None:
    """A process that ended is not alive while its parent has not heard of it."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = processes.of(child.pid)
    assert known.is_alive()
    os.kill(child.pid, 9)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
    assert not known.is_alive()
    child.communicate()
