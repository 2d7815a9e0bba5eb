"""Which packages are installed here, as the lines of a file that ``uv pip install -r`` takes."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from flowml.secrets import mask

_NAMED = re.compile(r"(.+?)-([^-]+)\.dist-info")


def lock(root: Path | None) -> str:
    """Return a line for each installed package, by name; those in the repository are named by their place in it.

    Args:
        root: The repository's folder, if there is one.
    """
    return "".join(f"{_line(name, version, origin, root)}\n" for name, version, origin in installed())


@cache
def installed() -> tuple[tuple[str, str, str], ...]:
    """Return name, version and, where it came from no index, its ``direct_url.json``; they are read once a process."""
    found: dict[str, tuple[str, str, str]] = {}
    for folder in dict.fromkeys(sys.path):
        for name, version, origin in _in_folder(folder or "."):
            found.setdefault(name, (name, version, origin))  # what comes first on the path is what is imported
    return tuple(sorted(found.values()))


def _in_folder(folder: str) -> Iterator[tuple[str, str, str]]:
    """Give what a folder holds; the name of its metadata's folder has name and version: no file is read for them."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if named := _NAMED.fullmatch(entry.name):
            origin = ""
            with suppress(OSError):
                origin = Path(entry.path, "direct_url.json").read_text("utf-8")
            yield _normal(named[1]), named[2], origin
        elif entry.name.endswith((".dist-info", ".egg-info")):
            metadata = PathDistribution(Path(entry.path)).metadata
            if metadata["Name"] and metadata["Version"]:
                yield _normal(metadata["Name"]), metadata["Version"], ""


def _line(name: str, version: str, origin: str, root: Path | None) -> str:
    try:
        told: dict[str, Any] = json.loads(origin) if origin else {}
    except ValueError:
        told = {}
    url = str(told.get("url", ""))
    if vcs := told.get("vcs_info"):
        return mask(f"{name} @ {vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id', '')}")
    if not url:
        return f"{name}=={version}"
    if not url.startswith("file:"):
        return mask(f"{name} @ {url}")
    place = Path(url2pathname(unquote(urlsplit(url).path)))
    is_editable = bool(told.get("dir_info", {}).get("editable"))
    if root and place.is_relative_to(root):
        inside = place.relative_to(root).as_posix()
        return f"{'-e ' if is_editable else ''}./{'' if inside == '.' else inside}  # {name} {version}"
    return f"-e {url}  # {name} {version}" if is_editable else f"{name} @ {url}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
