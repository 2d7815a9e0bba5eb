"""The attempts at a flow run, which is one run in MLflow: what tells of the end of one that another has followed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flowml import process

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TAG = "flowml.attempt"
"""The tag of a run with the number of the attempt that it is, or that is the last, from 1."""

_OF_AN_ATTEMPT = ("error", "error_type", "tracking_error", "closed", "closed_at")  # tags, after "flowml."
_TRACEBACK = "traceback.txt"


def is_followed(tags: Mapping[str, str], run: Run, *, is_first: bool, ended: int | None) -> bool:
    """Tell whether another attempt went on in a run after one that is known from a journal.

    A flow run that was suspended goes on in another process, as the same attempt.

    Args:
        tags: The tags with which the attempt was opened.
        run: The run.
        is_first: Whether there was no attempt before it, nor a process.
        ended: When it ended, in milliseconds since 1970; None if it was killed or suspended.
    """
    theirs, mine = _number(run.data.tags), _number(tags)
    if theirs != mine or run.data.tags.get(process.TAG) == tags.get(process.TAG):
        return theirs > mine
    if is_first or ended is None:
        return True
    has_ended = run.info.status != "RUNNING" and "flowml.closed" not in run.data.tags  # else nobody of its own said so
    return has_ended and (run.info.end_time or 0) >= ended


def tags_apart(tags: Mapping[str, str], run: Run, of: Mapping[str, str]) -> dict[str, str]:
    """Return which tags of an attempt that was followed the run lacks: its state is over, its error has its number.

    Args:
        tags: What it has to tell.
        run: The run.
        of: The tags with which it was opened.
    """
    names = {f"flowml.{each}": f"flowml.{name(of)}.{each}" for each in _OF_AN_ATTEMPT}
    told = {names.get(key, key): value for key, value in tags.items() if key != "prefect.state"}
    return {key: value for key, value in told.items() if key not in run.data.tags}


def name(tags: Mapping[str, str]) -> str:
    """Return what begins the names of what is an attempt's own, whose tags these are."""
    return f"attempt_{_number(tags)}"


def files_apart(client: MlflowClient, run: Run, folder: Path, of: Mapping[str, str]) -> None:
    """Let the files of an attempt that was followed replace none of the run's; its traceback has a place of its own.

    Args:
        client: MLflow's client.
        run: The run.
        folder: The files, which are to be sent.
        of: The tags with which the attempt was opened.
    """
    if (trace := folder / _TRACEBACK).exists():
        (folder / name(of)).mkdir(exist_ok=True)
        shutil.move(trace, folder / name(of) / _TRACEBACK)
    there: dict[str, set[str]] = {}
    for file in [each for each in folder.rglob("*") if each.is_file()]:
        path = file.relative_to(folder)
        parent = "" if path.parent == Path() else path.parent.as_posix()
        if parent not in there:
            there[parent] = {each.path for each in client.list_artifacts(run.info.run_id, parent or None)}
        if path.as_posix() in there[parent] and path.parts[0] != name(of):
            file.unlink()


def set_aside(client: MlflowClient, run: Run) -> None:
    """Rename what tells of the end of a run's attempt; can be done again where it failed half-way."""
    run_id, tags = run.info.run_id, run.data.tags
    attempt = name(tags)
    if "flowml.error" in tags:
        with suppress(Exception):  # of any store of artifacts; the tags say the same in short
            _move_traceback(client, run, attempt)
    for each in _OF_AN_ATTEMPT:
        if (value := tags.get(f"flowml.{each}")) is not None:
            client.set_tag(run_id, f"flowml.{attempt}.{each}", value)
            client.delete_tag(run_id, f"flowml.{each}")


def _move_traceback(client: MlflowClient, run: Run, attempt: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    artifacts = get_artifact_repository(run.info.artifact_uri, client.tracking_uri)
    with tempfile.TemporaryDirectory(prefix="flowml-") as folder:
        path = artifacts.download_artifacts(_TRACEBACK, folder)
        artifacts.log_artifact(path, attempt)
    artifacts.delete_artifacts(_TRACEBACK)


def _number(tags: Mapping[str, str]) -> int:
    told = tags.get(TAG, "")
    return int(told) if told.isdecimal() else 1
