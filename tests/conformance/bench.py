"""Runs programs of the tracker that is tested: in a process that is warm already, or as a user starts one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from tests.conformance.compare import Facts, Mlflow, read
from tests.conformance.tracker import ROOT, Tracker

_LONGEST = 400.0  # seconds that a program takes, if it is not one that works for long


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        code: Its exit code; negative if it was killed.
        seen: What its user saw.
        seconds: How long it took.
        log: All that it said.
    """

    code: int
    seen: Any
    seconds: float
    log: str


@dataclass(slots=True)
class Bench:
    """What a test needs to run a case and to look at it.

    Attributes:
        tracker: What is tested.
        mlflow: The server.
        folder: A folder for the cases.
        warm: Starts processes that have their libraries already.
    """

    tracker: Tracker
    mlflow: Mlflow
    folder: Path
    warm: Warm

    def home(self, name: str) -> Path:
        """Return a folder for programs to run in, and for the tracker to keep things in."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        (home / "pyproject.toml").touch()
        return home

    def run(self, program: str, case: str, address: str, *arguments: str, **options: Any) -> Ended:
        """Run a program to its end, with all that `started` takes."""
        with self.started(program, case, address, *arguments, **options) as running:
            return running.wait()

    @contextmanager
    def started(
        self, program: str, case: str, address: str, *arguments: str, home: str = "", cold: bool = False, **more: str
    ) -> Iterator[Running]:
        """Start a program; it is killed at the end, if it has not ended.

        Args:
            program: Its name.
            case: The name of the experiment.
            address: Where it reaches MLflow.
            arguments: What it is given.
            home: The name of its folder. Default: the case's.
            cold: Start it as a user does.
            more: Added to its environment.
        """
        folder = self.home(home or case)
        environment = {**self.tracker.environment(address, case, folder), **more}
        command = [*self.tracker.program(program), *arguments]
        start = Cold if cold else self.warm.start
        running = start(command, environment, folder / f"{program}-{time.monotonic_ns()}.log")
        try:
            yield running
        finally:
            running.kill()

    def sync(self, home: str, address: str | None = None, *, longest: float = _LONGEST) -> Ended:
        """Send what the programs of a folder left; it may take so many seconds."""
        with self.started("sync", home, address or self.mlflow.address) as running:
            return running.wait(longest)

    def read(self, case: str) -> Facts:
        """Read what MLflow has of the case."""
        return read(self.mlflow, case, self.tracker.names_of_time_and_place)


class Running:
    """A program that runs.

    Args:
        log: Where its output goes.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.began = time.monotonic()
        self.pid = 0

    def code(self, longest: float) -> int:
        """Wait for its end, so many seconds at most, and return its exit code."""
        raise NotImplementedError

    def wait(self, longest: float = _LONGEST) -> Ended:
        """Wait for its end, so many seconds at most."""
        code = self.code(longest)
        text = self.log.read_text(errors="replace")
        said = [line for line in text.splitlines() if line.startswith("SEEN ")]
        return Ended(code, json.loads(said[-1][5:]) if said else None, time.monotonic() - self.began, text)

    def where(self) -> str:
        """Return what it said, and where each of its threads is, of one that was forked from a warm process."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR2)
        time.sleep(1.0)
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """Kill it, and the processes that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


class Cold(Running):
    """A program that was started as a user does."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        super().__init__(log)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, env=environment, cwd=log.parent, stdout=output, stderr=output, start_new_session=True
            )
        self.pid = self._process.pid

    def code(self, longest: float) -> int:
        """Wait for its end, so many seconds at most, and return its exit code."""
        return self._process.wait(longest)


@dataclass(slots=True)
class Warm:
    """A process that has imported everything, and forks one for each program.

    Attributes:
        process: It.
    """

    process: subprocess.Popen[str]
    _told: dict[str, SimpleQueue[dict[str, Any]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, command: list[str], environment: Mapping[str, str], log: Path) -> Running:
        """Start a program of Python's ``-m``."""
        _, _, module, *arguments = command
        told = self._told[str(log)] = SimpleQueue()
        job = {"module": module, "arguments": arguments, "environment": dict(environment)}
        with self._lock:
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps({**job, "folder": str(log.parent), "log": str(log)}) + "\n")
            self.process.stdin.flush()
        return _Forked(log, told)

    def listen(self) -> None:
        """Hand on what it says."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if "log" in said:
                self._told[said["log"]].put(said)


class _Forked(Running):
    def __init__(self, log: Path, told: SimpleQueue[dict[str, Any]]) -> None:
        super().__init__(log)
        self._told = told
        self.pid = told.get(timeout=60)["pid"]

    def code(self, longest: float) -> int:
        """Wait for its end, so many seconds at most, and return its exit code."""
        try:
            return int(self._told.get(timeout=longest)["code"])
        except Empty:
            raise TimeoutError(self.log.read_text()[-3000:]) from None


@contextmanager
def warm(environment: Mapping[str, str], log: Path) -> Iterator[Warm]:
    """Start the process that is warm."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.warm"],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    made = Warm(process)
    assert json.loads(process.stdout.readline() or "{}") == {"ready": True}, log.read_text()[-3000:]
    listening = threading.Thread(target=made.listen, daemon=True)
    listening.start()
    yield made
    process.stdin.close()
    process.wait(30)
    listening.join(10)
    process.stdout.close()
