"""A flow that works until it is stopped: run as a script, or served, in a process of its own."""

import os
import sys
import time
from pathlib import Path

from flowml import flow, task

NAME = "works-until-stopped/ends"


@task
def works(folder: Path) -> None:
    """Say that it works, and work."""
    (folder / f"working-{os.getpid()}-{time.monotonic_ns()}").touch()
    for _ in range(1200):
        time.sleep(0.1)


@flow
def works_until_stopped(folder: Path, threads: int = 0) -> None:
    """Work on the main thread, and perhaps in others."""
    (folder / "pid").write_text(str(os.getpid()))
    waiting = [works.submit(folder) for _ in range(threads)]
    works(folder)
    for future in waiting:
        future.wait()


@flow
def exits(folder: Path) -> None:
    """Leave by ``sys.exit``."""
    (folder / "pid").write_text(str(os.getpid()))
    sys.exit(3)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            works_until_stopped.serve("ends")
        case [name, folder]:
            {"works": works_until_stopped, "exits": exits}[name](Path(folder))
