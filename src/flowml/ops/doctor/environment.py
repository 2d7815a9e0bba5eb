"""What the environment and the flow's file make MLflow do behind the flow's back."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

from flowml.ops.doctor.findings import Finding, Place
from flowml.store.trouble import masked

_NO_FILES = (
    "Use sqlite:///mlflow.db (`mlflow migrate-filestore` moves old runs), or unset MLFLOW_TRACKING_URI for flowml's "
    "own store."
)


def run_id(_: Place) -> Iterator[Finding]:
    """Look for a run that MLflow would resume in each process."""
    told = os.environ.get("MLFLOW_RUN_ID")
    if told:
        yield Finding(
            "warning",
            f"MLFLOW_RUN_ID is set to {told!r}: MLflow resumes and renames that run wherever a run is started. flowml "
            "ignores it in flows; what a script logs by itself goes there.",
            "unset MLFLOW_RUN_ID",
        )
    else:
        yield Finding("ok", "MLFLOW_RUN_ID is not set")


def autologging(place: Place) -> Iterator[Finding]:
    """Look whether autologging is on for the whole process; with a flow, after its file has been loaded."""
    loaded: Any = sys.modules.get("mlflow.utils.autologging_utils")
    told: dict[str, Any] = dict(getattr(loaded, "AUTOLOGGING_INTEGRATIONS", {}))
    on = sorted(name for name, given in told.items() if given and not given.get("disable", False))
    if on:
        yield Finding(
            "warning",
            f"Autologging is on for the whole process ({', '.join(on)}): each fit logs its model too, which takes "
            "seconds, and threads share what it notes.",
            "Turn it on for the tasks that need it: @task(track=Track(autolog=True)).",
        )
    else:
        where = f"when {place.flow.name!r} is loaded" if place.flow else "here; name a flow to look at its file too"
        yield Finding("ok", f"Autologging is off {where}")


def file_store(place: Place) -> Iterator[Finding]:
    """Look whether runs are to be kept in plain folders, which MLflow refuses."""
    if place.is_folder:
        yield Finding("error", f"MLflow keeps no runs in plain folders any more: {masked(place.uri)}", _NO_FILES)
    else:
        yield Finding("ok", f"Runs are kept in {masked(place.uri)}")
