"""How an outermost flow was run, as records for its run."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flowml import records
from flowml.provenance import files
from flowml.provenance.code import Seen, seen_from
from flowml.provenance.packages import lock
from flowml.provenance.parameters import parameters


def origin_of(
    function: records.Function | None,
    *,
    given: Mapping[str, Any],
    logged: Mapping[str, Any],
    annotations: Mapping[str, Any],
) -> Callable[[], list[records.Record]]:
    """Note how a flow is called, and return what finds the rest, for the background: it asks git and reads folders.

    Args:
        function: Where the flow's function is written.
        given: The flow's parameters.
        logged: Those of them that are to be logged.
        annotations: Their declared types.
    """
    with_what = parameters(given, logged, annotations)
    folder = Path.cwd()

    def find() -> list[records.Record]:
        file = Path(function.file).resolve() if function and function.file else None
        seen = seen_from(file) if file else Seen()
        origin = files.Origin(
            entrypoint=_entrypoint(function, file, seen.root),
            folder=_below(folder, seen.root),
            python=platform.python_version(),
            platform=platform.platform(),
            hash_seed=os.environ.get("PYTHONHASHSEED"),
            code=seen.code,
            parameters=with_what,
        )
        return _records_of(origin, seen)

    return find


def _records_of(origin: files.Origin, seen: Seen) -> list[records.Record]:
    found: list[records.Record] = [
        records.Text(files.RUN, json.dumps(origin.as_data(), indent=2) + "\n"),
        records.Text(files.LOCK, lock(seen.root)),
    ]
    if seen.diff:
        found.append(records.Text(files.DIFF, seen.diff))
    if origin.entrypoint:
        found.append(records.Tag(files.ENTRYPOINT, origin.entrypoint))
    if origin.code.commit:
        found.append(records.Tag(files.COMMIT, origin.code.commit))  # MLflow's own is of the program that was started
        found.append(records.Tag(files.DIRTY, str(origin.code.dirty).lower()))
    return found


def _entrypoint(function: records.Function | None, file: Path | None, root: Path | None) -> str | None:
    """Name the flow as ``flowml run`` takes it, from the repository's folder."""
    if function is None or function.name is None:
        return None
    if file and root:
        return f"{file.relative_to(root).as_posix()}:{function.name}"
    is_installed = bool(file and "site-packages" in file.parts)
    if is_installed and function.module:
        return f"{function.module}:{function.name}"
    return f"{file}:{function.name}" if file and file.is_file() else None


def _below(folder: Path, root: Path | None) -> str:
    folder = folder.resolve()
    return folder.relative_to(root).as_posix() if root and folder.is_relative_to(root) else str(folder)
