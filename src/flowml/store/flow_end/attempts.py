"""The attempts at a flow run, which is one run in MLflow: what tells of the end of one that another has followed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TAG = "flowml.attempt"
"""The tag of a run with the number of the attempt that it is, or that is the last, from 1."""

_OF_AN_ATTEMPT = ("error", "error_type", "tracking_error", "closed", "closed_at")  # tags, after "flowml."
_TRACEBACK = "traceback.txt"


def is_followed(tags: Mapping[str, str], run: Run) -> bool:
    """Tell whether a later attempt than the one with these tags went on in a run."""
    return _number(run.data.tags) > _number(tags)


def named_apart(tags: Mapping[str, str], of: Mapping[str, str]) -> dict[str, str]:
    """Return what an attempt that was followed has to tell: not its state, and its error under its number.

    Args:
        tags: What it has to tell.
        of: The tags with which it was opened.
    """
    names = {f"flowml.{name}": f"flowml.{_name(of)}.{name}" for name in _OF_AN_ATTEMPT}
    return {names.get(key, key): value for key, value in tags.items() if key != "prefect.state"}


def move_apart(folder: Path, of: Mapping[str, str]) -> None:
    """Put the traceback of an attempt that was followed where it has its place, among files that are to be sent."""
    if (trace := folder / _TRACEBACK).exists():
        (folder / _name(of)).mkdir(exist_ok=True)
        shutil.move(trace, folder / _name(of) / _TRACEBACK)


def set_aside(client: MlflowClient, run: Run) -> None:
    """Rename what tells of the end of a run's attempt; can be done again where it failed half-way."""
    run_id, tags = run.info.run_id, run.data.tags
    attempt = _name(tags)
    if "flowml.error" in tags:
        with suppress(Exception):  # of any store of artifacts; the tags say the same in short
            _move_traceback(client, run, attempt)
    for name in _OF_AN_ATTEMPT:
        if (value := tags.get(f"flowml.{name}")) is not None:
            client.set_tag(run_id, f"flowml.{attempt}.{name}", value)
            client.delete_tag(run_id, f"flowml.{name}")


def _move_traceback(client: MlflowClient, run: Run, attempt: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    artifacts = get_artifact_repository(run.info.artifact_uri, client.tracking_uri)
    with tempfile.TemporaryDirectory(prefix="flowml-") as folder:
        path = artifacts.download_artifacts(_TRACEBACK, folder)
        artifacts.log_artifact(path, attempt)
    artifacts.delete_artifacts(_TRACEBACK)


def _name(tags: Mapping[str, str]) -> str:
    return f"attempt_{_number(tags)}"


def _number(tags: Mapping[str, str]) -> int:
    told = tags.get(TAG, "")
    return int(told) if told.isdecimal() else 1
