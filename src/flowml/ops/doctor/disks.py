"""Whether there is room for what flows leave."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flowml import settings
from flowml.ops.doctor.findings import Finding, Setup
from flowml.store.backend import embedded

LITTLE, NONE = 2 * 2**30, 200 * 2**20  # bytes


def disk(setup: Setup, *, little: int = LITTLE, none: int = NONE) -> Iterator[Finding]:
    """Look at the folders of the database, of the artifacts, and of what waits to be sent.

    Args:
        setup: What is examined.
        little: Fewer free bytes than this are a warning.
        none: Fewer than this are an error.
    """
    folders = {"temporary files": Path(tempfile.gettempdir()), "flowml's folder": settings.home_folder()}
    if setup.uri.startswith("sqlite:///"):
        folders["MLflow's database"] = Path(setup.uri.removeprefix("sqlite:///")).parent
    if setup.uri == embedded.default_uri() and embedded.artifact_root().startswith("file:"):
        folders["artifacts"] = Path(unquote(urlsplit(embedded.artifact_root()).path))
    seen: dict[int, str] = {}
    for name, folder in folders.items():
        there = next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))
        if (device := there.stat().st_dev) in seen:
            continue
        seen[device] = name
        yield _finding(name, there, little, none)
        if not os.access(there, os.W_OK):
            yield Finding(
                "error", f"{there} ({name}) cannot be written.", "Give this user the right to, or FLOWML_HOME."
            )


def _finding(name: str, folder: Path, little: int, none: int) -> Finding:
    free = shutil.disk_usage(folder).free
    room = f"{free / 2**30:.1f} GiB are free for {name} ({folder})"
    if free >= little:
        return Finding("ok", room)
    remedy = "Make room (`flowml delete` and `mlflow gc` remove old runs), or set FLOWML_HOME and TMPDIR elsewhere."
    return Finding("error" if free < none else "warning", f"Only {room}.", remedy)
