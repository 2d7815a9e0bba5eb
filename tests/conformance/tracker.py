"""The tracker that is tested, seen from outside: all that the tests know of it.

Another tracker can be put here: give it programs that do what `reference`, `counting` and `many` do, and a `Tracker`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parents[2]
MAX_DELAY = 3.0
"""Seconds for which a flow may wait for an MLflow that fails, in these tests."""


class Tracker(Protocol):
    """What a tracker has to offer.

    Attributes:
        names_of_time_and_place: Tags whose values differ from run to run, such as ids and times.
    """

    names_of_time_and_place: frozenset[str]

    def program(self, name: str) -> Sequence[str]:
        """Return the command of a program.

        Args:
            name: `reference`; `counting`, which is killed; `sync`, which sends what programs left behind that were run
                in the same environment, and ends with the code 0 when all of it is sent.
        """

    def environment(self, mlflow: str, case: str, home: Path) -> Mapping[str, str]:
        """Return the environment in which a program logs to an MLflow.

        Args:
            mlflow: The address.
            case: The name of the experiment; registered models begin with it.
            home: The folder that the tracker may keep things in.
        """

    def can_sync(self) -> bool:
        """Tell whether the program `sync` exists."""


@dataclass(frozen=True)
class Flowml:
    """flowml.

    Attributes:
        prefect_api: The Prefect server that flows run against.
    """

    prefect_api: str
    names_of_time_and_place: frozenset[str] = frozenset(
        {
            *("flowml.root_run_id", "flowml.previous_run_id", "flowml.next_run_id", "flowml.process"),
            *("prefect.task_run_id", "prefect.flow_run_id", "prefect.task_run_url", "prefect.flow_run_url"),
            *("mlflow.parentRunId", "mlflow.source.git.commit"),
        }
    )

    def program(self, name: str) -> Sequence[str]:
        """Return the command of a program."""
        module = ["flowml", "sync"] if name == "sync" else [f"tests.conformance.{name}"]
        return [sys.executable, "-m", *module]

    def environment(self, mlflow: str, case: str, home: Path) -> Mapping[str, str]:
        """Return the environment in which a program logs to an MLflow."""
        others = ("MLFLOW_", "FLOWML_", "FAULTS_", "PYTEST_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        return {
            **inherited,
            "FAULTS_CASE": case,
            "FLOWML_EXPERIMENT": case,
            "FLOWML_HOME": str(home / ".flowml"),
            "FLOWML_MAX_DELAY": f"{MAX_DELAY:g}",
            "FLOWML_TIMEOUT": f"{MAX_DELAY:g}",  # what bounds it as long as there is no journal
            "FLOWML_TRACKING_URI": mlflow,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PREFECT_API_URL": self.prefect_api,
            "PREFECT_LOCAL_STORAGE_PATH": str(home / "results"),
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
        }

    def can_sync(self) -> bool:
        """Tell whether this flowml has the command."""
        return self._has_sync

    @cached_property
    def _has_sync(self) -> bool:
        asked = [sys.executable, "-m", "flowml", "sync", "--help"]
        return subprocess.run(asked, capture_output=True, cwd=ROOT, check=False, timeout=60).returncode == 0
