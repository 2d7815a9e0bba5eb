"""Watches the files that deployments wait for, and tells Prefect of each that appeared or changed."""

from __future__ import annotations

import asyncio
import glob
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from flowml.events import thresholds, vocabulary
from flowml.events.emitting import deliver
from flowml.events.vocabulary import Event

Stamp: TypeAlias = "tuple[int, int]"  # when a file was changed last, in ns, and its size
Found: TypeAlias = "dict[str, Stamp]"  # by path

_MOST = 10_000  # files of one pattern


class FileWatch:
    """What is known of the files that are waited for.

    A file is told of when it is as it was at the look before: one that is being written is left until it is whole.
    What was told is kept in a file, so that what comes while nobody watches is found at the next start.

    Args:
        kept: The file.
        say: Told in words of what was done.
    """

    def __init__(self, kept: Path, say: Callable[[str], None]) -> None:
        self._kept = kept
        self._say = say
        self._told = _read(kept)
        self._seen: dict[str, Found] = {}
        self._patterns: list[str] = []
        self._read = -thresholds.FRESH  # when they were read
        self._is_first = True

    async def look(self) -> None:
        """Look once, and tell of what is new; what cannot be told now is told after a later look.

        Raises:
            Exception: What Prefect's client raises when it cannot be reached.
        """
        if time.monotonic() - self._read > thresholds.FRESH:
            self._patterns, self._read = await asyncio.to_thread(_patterns), time.monotonic()
        for pattern in self._patterns:
            stamps = await asyncio.to_thread(_found, pattern)
            if pattern not in self._told:
                self._say(f"Watching {pattern}; files there already: {len(stamps)}.")
                self._told[pattern] = stamps
            before, self._seen[pattern] = self._seen.get(pattern, {}), stamps
            for path, stamp in sorted(stamps.items()):
                if self._told[pattern].get(path) != stamp and before.get(path) == stamp:
                    await deliver(_event(pattern, path, stamp, is_new=path not in self._told[pattern]))
                    self._told[pattern][path] = stamp
                    self._say(f"Told: {path}")
                    self._keep()
            self._told[pattern] = {path: stamp for path, stamp in self._told[pattern].items() if path in stamps}
        if self._is_first:  # later they are kept: Prefect makes a deployment's automations anew when it is applied
            self._told = {pattern: self._told[pattern] for pattern in self._patterns}
            self._is_first = False
        self._keep()

    def _keep(self) -> None:
        """Write what was told; whole or not at all."""
        written = json.dumps(self._told)
        if not self._kept.exists() or self._kept.read_text() != written:
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            new = self._kept.with_suffix(f".{os.getpid()}")
            new.write_text(written)
            new.replace(self._kept)


def _patterns() -> list[str]:
    """Return the patterns that deployments wait for."""
    prefix = vocabulary.files("")
    wanted = thresholds.read()
    labels = {
        one.labels[vocabulary.ID]
        for one in wanted
        if one.event == vocabulary.FILE_CHANGED and vocabulary.ID in one.labels
    }
    return sorted(vocabulary.unlabel(known.removeprefix(prefix)) for known in labels if known.startswith(prefix))


def _found(pattern: str) -> Found:
    return dict(_stamps(islice(glob.iglob(pattern, recursive=True), _MOST)))  # noqa: PTH207 - pathlib's takes no absolute pattern


def _stamps(paths: Iterable[str]) -> Iterator[tuple[str, Stamp]]:
    for path in paths:
        try:
            about = os.stat(path)  # noqa: PTH116 - for each file, at each look
        except OSError:
            continue  # gone meanwhile
        if not os.path.isdir(path):  # noqa: PTH112
            yield path, (about.st_mtime_ns, about.st_size)


def _event(pattern: str, path: str, stamp: Stamp, *, is_new: bool) -> Event:
    about = {vocabulary.ID: vocabulary.files(pattern), vocabulary.NAME: Path(path).name}
    payload = {"path": path, "pattern": pattern, "change": "appeared" if is_new else "changed", "size": stamp[1]}
    return Event(vocabulary.FILE_CHANGED, about, payload, same=f"{pattern} {path} {stamp}")


def _read(kept: Path) -> dict[str, Found]:
    try:
        told_before: Mapping[str, Mapping[str, list[int]]] = json.loads(kept.read_text())
    except (OSError, ValueError):
        return {}
    return {
        pattern: {path: (stamp[0], stamp[1]) for path, stamp in stamps.items()}
        for pattern, stamps in told_before.items()
    }
