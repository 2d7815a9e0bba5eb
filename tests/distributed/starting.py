"""Starts ranks as launchers do: processes of their own, which know by variables which rank they are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import flowml

ROOT = Path(__file__).parents[2]


def start(folder: Path, ranks: Iterable[int], more: Mapping[str, str] | None = None) -> list[int]:
    """Start ranks in the task that calls this, at once, and wait for them; how each ended, in order."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    told = {**os.environ, **flowml.child_environment(), "PYTHONPATH": path, **(more or {})}
    started = []
    numbers = list(ranks)
    for number in numbers:
        place = {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(len(numbers))}
        with (folder / f"log_{number}").open("w") as log:
            command = [sys.executable, "-m", "tests.distributed.rank", str(folder)]
            started.append(subprocess.Popen(command, env={**told, **place}, cwd=ROOT, stdout=log, stderr=log))
    return [each.wait(120) for each in started]


def logs(folder: Path) -> str:
    """Return what the ranks said."""
    return "\n".join(f"{file.name}:\n{file.read_text()}" for file in sorted(folder.glob("log_*")))
