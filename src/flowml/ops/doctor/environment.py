"""What the environment does behind the flow's back: to MLflow, and to the time that imports take."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowml.ops.doctor.findings import Finding, Setup
from flowml.patches import in_source
from flowml.secrets import mask

_NO_FILES = (
    "Use sqlite:///mlflow.db (`mlflow migrate-filestore` moves old runs), or unset MLFLOW_TRACKING_URI for flowml's "
    "own store."
)


def run_id(_: Setup) -> Iterator[Finding]:
    """Look for a run that MLflow would resume in each process."""
    its_id = os.environ.get("MLFLOW_RUN_ID")
    if its_id:
        yield Finding(
            "warning",
            f"MLFLOW_RUN_ID is set to {its_id!r}: MLflow resumes and renames that run wherever a run is started. "
            "flowml ignores it in flows; what a script logs by itself goes there.",
            "unset MLFLOW_RUN_ID",
        )
    else:
        yield Finding("ok", "MLFLOW_RUN_ID is not set")


def autologging(setup: Setup) -> Iterator[Finding]:
    """Look whether autologging is on for the whole process; with a flow, after its file has been loaded."""
    loaded: Any = sys.modules.get("mlflow.utils.autologging_utils")
    integrations: dict[str, Any] = dict(getattr(loaded, "AUTOLOGGING_INTEGRATIONS", {}))
    on = sorted(name for name, options in integrations.items() if options and not options.get("disable", False))
    if on:
        yield Finding(
            "warning",
            f"Autologging is on for the whole process ({', '.join(on)}): each fit logs its model too, which takes "
            "seconds, and threads share what it notes.",
            "Turn it on for the tasks that need it: @task(track=Track(autolog=True)).",
        )
    else:
        where = f"when {setup.flow.name!r} is loaded" if setup.flow else "here; name a flow to look at its file too"
        yield Finding("ok", f"Autologging is off {where}")


def file_store(setup: Setup) -> Iterator[Finding]:
    """Look whether runs are to be kept in plain folders, which MLflow refuses."""
    if setup.is_folder:
        yield Finding("error", f"MLflow keeps no runs in plain folders any more: {mask(setup.uri)}", _NO_FILES)
    else:
        yield Finding("ok", f"Runs are kept in {mask(setup.uri)}")


def compiled(_: Setup) -> Iterator[Finding]:
    """Look whether the bytecode of Prefect and MLflow is kept, or each process has to make it anew."""
    missing = [name for name in ("prefect", "mlflow") if not _is_compiled(name)]
    if missing:
        unset = "unset PYTHONDONTWRITEBYTECODE, or " if sys.dont_write_bytecode else ""
        yield Finding(
            "warning",
            f"Not compiled: {', '.join(missing)}. Each process, a worker's too, compiles then all that it imports, for "
            "seconds.",
            f"{unset}{sys.executable} -m compileall -q -j 0 {sysconfig.get_path('purelib')}",
        )
    else:
        yield Finding("ok", "Prefect and MLflow are compiled")


def _is_compiled(module: str) -> bool:
    spec = in_source.find(module)
    kept = spec.cached if spec else None
    return kept is None or Path(kept).exists()
