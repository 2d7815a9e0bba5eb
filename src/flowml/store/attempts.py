"""Sets the end of an attempt aside, where the next one goes on in its run: as ``flowml.attempt_1.error`` and so on."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_OF_AN_ATTEMPT = ("error", "error_type", "tracking_error", "closed", "closed_at")  # tags, after "flowml."
_TRACEBACK = "traceback.txt"


def set_aside(client: MlflowClient, run: Run) -> None:
    """Rename what tells of the end of a run's attempt; can be done again where it failed half-way."""
    run_id, tags = run.info.run_id, run.data.tags
    attempt = f"attempt_{tags.get('flowml.attempt', '1')}"
    if "flowml.error" in tags:
        with suppress(Exception):  # of any store of artifacts; the tags say the same in short
            _move_traceback(client, run, attempt)
    for name in _OF_AN_ATTEMPT:
        if (told := tags.get(f"flowml.{name}")) is not None:
            client.set_tag(run_id, f"flowml.{attempt}.{name}", told)
            client.delete_tag(run_id, f"flowml.{name}")


def _move_traceback(client: MlflowClient, run: Run, attempt: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    artifacts = get_artifact_repository(run.info.artifact_uri, client.tracking_uri)
    with tempfile.TemporaryDirectory(prefix="flowml-") as folder:
        path = Path(folder, _TRACEBACK)
        artifacts._download_file(_TRACEBACK, str(path))  # noqa: SLF001 - the public way draws a progress bar
        artifacts.log_artifact(str(path), attempt)
    artifacts.delete_artifacts(_TRACEBACK)
