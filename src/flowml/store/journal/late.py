"""Notes of the runs that a process has left to its journal: the flow above ends without them, and tells of them later.

Nobody can read a journal while its process has it open, so a note is a file beside it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from flowml.store.journal import on_disk


def note(journal: Path, key: str, above: str, owner: str) -> None:
    """Note that a run waits.

    Args:
        journal: The file of the journal that it waits in.
        key: The run's.
        above: The key, or the id in MLflow, of the run that it hangs under.
        owner: The name of its task or flow.
    """
    with suppress(OSError):  # the flow tells of it later, too; some of its metrics have two names then
        _place(journal, key).write_text(json.dumps([above, owner]))


def forget(journal: Path, key: str) -> None:
    """Take a note away, once its run is sent: before the flow above is to tell of it, which would leave it out."""
    with suppress(OSError):
        _place(journal, key).unlink(missing_ok=True)


def owners(folder: Path, above: Collection[str]) -> frozenset[str]:
    """Return the names of the tasks and flows of which runs wait, right below some.

    Args:
        folder: Where the journals are.
        above: The names by which others may know these: their keys, and their ids in MLflow.
    """
    found = set[str]()
    with suppress(OSError):
        for path in folder.glob(f"*{on_disk.LATE}"):
            with suppress(OSError, ValueError, TypeError):  # sent at this moment
                of, owner = json.loads(path.read_text())
                if of in above and path.with_name(path.name.partition(".")[0] + on_disk.SUFFIX).exists():
                    found.add(owner)
    return frozenset(found)


def _place(journal: Path, key: str) -> Path:
    return journal.with_name(f"{journal.stem}.{key}{on_disk.LATE}")
