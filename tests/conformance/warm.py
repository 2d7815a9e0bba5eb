"""Starts programs in processes that have their libraries already: a fork of this one each, which imported them once.

Each line that comes in is a job, ``{"module", "arguments", "environment", "folder", "log"}``; each that goes out is
``{"log", "pid"}`` when a program has begun, and ``{"log", "code"}`` when it has ended.
"""

from __future__ import annotations

import faulthandler
import json
import os
import runpy
import select
import signal
import sys
from importlib import import_module
from typing import Any

LIBRARIES = """
prefect prefect.events.clients prefect.task_runners git pandas PIL.Image
matplotlib.figure matplotlib.backends.backend_agg skops.io sklearn.linear_model mlflow mlflow.sklearn mlflow.pyfunc
mlflow.store.tracking.rest_store mlflow.store.artifact.mlflow_artifacts_repo mlflow.models.rag_signatures
"""
"""Without the tracker: flowml reads its settings when it is imported, and each program has its own."""
_LOOK = 0.05  # seconds between two looks whether a program has ended


def _tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _become(job: dict[str, Any]) -> None:
    """Be the program from now on, until it ends as any other does."""
    from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings

    os.setsid()
    output = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
        os.dup2(source, number)
    faulthandler.register(signal.SIGUSR2)  # says in the log where each thread is
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    sys.argv = [job["module"], *job["arguments"]]
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: os.environ["PREFECT_LOCAL_STORAGE_PATH"]}):
        runpy.run_module(job["module"], run_name="__main__", alter_sys=True)


def _serve() -> dict[str, Any] | None:
    """Start what is asked for; in a child return its job, in this process None when nothing else will be asked."""
    running: dict[int, str] = {}
    buffered = b""
    while True:
        if select.select([0], [], [], _LOOK)[0]:
            came = os.read(0, 1 << 16)
            if not came:
                for pid in running:
                    os.killpg(pid, signal.SIGKILL)
                return None
            *lines, buffered = (buffered + came).split(b"\n")
            for line in lines:
                job: dict[str, Any] = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    return job
                running[pid] = job["log"]
                _tell(log=job["log"], pid=pid)
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            _tell(log=running.pop(pid), code=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    for library in LIBRARIES.split():
        import_module(library)
    _tell(ready=True)
    mine = _serve()
    if mine is not None:
        _become(mine)
