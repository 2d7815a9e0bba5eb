"""Files for a run's artifacts, copied aside at once and uploaded together."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from flowml import records
from flowml.store.scratch import Scratch

FileRecord = records.Text | records.Blob | records.File


def stage(found: Sequence[FileRecord]) -> tuple[Scratch, OSError | None]:
    """Copy files aside.

    Args:
        found: What to copy.

    Returns:
        The folder, laid out as the artifacts will be, and the first error: one file that is gone keeps no other back.
    """
    scratch, missing = Scratch(), None
    for record in found:
        try:
            _place(record, scratch.path)
        except OSError as error:
            missing = missing or error
    scratch.weigh()
    return scratch, missing


def _place(record: FileRecord, folder: Path) -> None:
    if isinstance(record, records.File):
        target = folder / record.path / record.source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if record.source.is_dir():
            shutil.copytree(record.source, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(record.source, target)
        return
    target = folder / record.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(record, records.Text):
        target.write_text(record.text, encoding="utf-8", errors="replace")
    else:
        target.write_bytes(record.data)
