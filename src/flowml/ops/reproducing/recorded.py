"""What a flow's run keeps of how it was made."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowml.provenance.files import DIFF, FOLDER, LOCK, REPRODUCES, RUN, Origin

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True, slots=True)
class Recorded:
    """How a flow's run was made.

    Attributes:
        run: The run.
        origin: Its code, parameters and Python.
        lock: The installed packages, as a requirements file.
        diff: What was changed since the commit.
    """

    run: Run
    origin: Origin
    lock: str
    diff: str


def original(client: MlflowClient, run: Run) -> Run:
    """Return the run that is to be repeated: the outermost flow's, and what that repeats itself, if it does.

    Raises:
        MlflowException: If it is gone.
    """
    root_id = run.data.tags.get("flowml.root_run_id", run.info.run_id)
    root = run if root_id == run.info.run_id else client.get_run(root_id)
    return client.get_run(root.data.tags[REPRODUCES]) if REPRODUCES in root.data.tags else root


def recorded(client: MlflowClient, run: Run) -> Recorded:
    """Read what an outermost flow's run keeps.

    Raises:
        LookupError: If it keeps nothing, or something that cannot be read.
    """
    from mlflow.exceptions import MlflowException

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # three small files
    why = (
        f"The run {run.info.run_name!r} ({run.info.run_id[:8]}) does not say how it was made: flowml keeps that with "
        "the outermost flow's run, unless the setting `reproduce` is off."
    )
    with tempfile.TemporaryDirectory(prefix="flowml-") as folder:
        try:
            there = {file.path for file in client.list_artifacts(run.info.run_id, FOLDER)}
            texts = {
                path: Path(client.download_artifacts(run.info.run_id, path, folder)).read_text("utf-8")
                for path in (RUN, LOCK, DIFF)
                if path in there
            }
        except (MlflowException, OSError) as error:
            msg = f"{why} MLflow says: {error}"
            raise LookupError(msg) from None
    if RUN not in texts:
        raise LookupError(why)
    try:
        origin = Origin.from_data(json.loads(texts[RUN]))
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{RUN} of the run {run.info.run_name!r} cannot be read: {error}"
        raise LookupError(msg) from None
    return Recorded(run, origin, texts.get(LOCK, ""), texts.get(DIFF, ""))
