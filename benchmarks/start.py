"""What flowml adds before anything runs: its import, and the start of its command.

Whole processes, one after the other, round by round; and the import alone, by `python -X importtime`. `import flowml`
loads next to nothing, so what a script really imports, the decorators, is compared too.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

from contest import ratio
from report import Goal, options, report

_SCRIPTS = Path(sys.executable).parent
_THEIRS, _OURS = "from prefect import flow, task", "from flowml import flow, task"
_COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import prefect": [sys.executable, "-c", "import prefect"],
    "import flowml": [sys.executable, "-c", "import flowml"],
    _THEIRS: [sys.executable, "-c", _THEIRS],
    _OURS: [sys.executable, "-c", _OURS],
    "prefect --help": [str(_SCRIPTS / "prefect"), "--help"],
    "flowml --help": [str(_SCRIPTS / "flowml"), "--help"],
}


def main(given: Namespace) -> None:
    """Measure and print."""
    taken: dict[str, list[float]] = {what: [] for what in _COMMANDS}
    imported: dict[str, list[float]] = {"prefect": [], "flowml": []}
    for command in _COMMANDS.values():
        _run(command)  # compiles what is not compiled yet
    for _ in range(given.rounds):
        for what, command in _COMMANDS.items():
            began = time.perf_counter()
            _run(command)
            taken[what].append(time.perf_counter() - began)
        for module, times in imported.items():
            times.append(_import_time(module))
    rows: list[dict[str, str | float]] = [
        {"what": what, "ms": 1000 * statistics.median(times)} for what, times in taken.items()
    ]
    rows += [
        {"what": f"-X importtime {module}", "ms": 1000 * statistics.median(times)} for module, times in imported.items()
    ]
    goals = [
        Goal("import flowml / import prefect", ratio(imported["flowml"], imported["prefect"]), most=1.05),
        Goal("the decorators imported, flowml / Prefect", ratio(taken[_OURS], taken[_THEIRS]), most=1.05),
        Goal("flowml --help / prefect --help", ratio(taken["flowml --help"], taken["prefect --help"]), most=0.5),
    ]
    report(given, f"Start, {given.rounds} rounds", rows, goals)


def _run(command: list[str]) -> str:
    quiet = {**os.environ, "DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    quiet.pop("PYTHONDONTWRITEBYTECODE", None)  # else what was edited last is compiled at each start
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stderr


def _import_time(module: str) -> float:
    """Return the seconds that an import takes with all that it brings, in a fresh interpreter."""
    lines = _run([sys.executable, "-X", "importtime", "-c", f"import {module}"]).splitlines()
    cumulative = [line.split("|")[1] for line in lines if line.rpartition("|")[2].strip() == module]
    return float(cumulative[-1]) / 1_000_000


if __name__ == "__main__":
    main(options(__doc__, stores=False).parse_args())
