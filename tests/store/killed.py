"""Programs that log with flowml and are killed, for tests of what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

HEAD = """
import os, signal, sys
from flowml import records
from flowml.options import Track
from flowml.store import open_run
from flowml.store.sending.writer import writer_of
from flowml.store.backend.connection import connect

def owner(name, kind="task"):
    return records.Identity(
        name=name, kind=kind, owner=name, attempt=1, started=1000, source=None,
        tags={"prefect.flow_name": "nightly"}, tag=("", ""))

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def hold():
    "Let nothing be sent any more: what is logged from now on is in the journal alone."
    writer_of(connect()).rest()
"""


def run(program: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has `HEAD` before it, in a project's folder."""
    return subprocess.run(
        [sys.executable, "-c", HEAD + program],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def killed(program: str, folder: Path, **environment: str) -> None:
    """Run a program that is to be killed."""
    ran = run(program, folder, **environment)
    assert ran.returncode == -signal.SIGKILL, ran.stderr


def journals(folder: Path) -> list[Path]:
    """Return the journals of a project."""
    return sorted((folder / ".flowml" / "journal").glob("*.db"))
