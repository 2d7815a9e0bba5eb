"""Which version of a file or source was read, as those tell who keep versions: DVC, lakeFS, Delta, git.

All of it is asked for in the background, and without a network.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from flowml.provenance import code

_LARGEST = 100_000_000  # bytes of a file that is read for its fingerprint
_DELTA = re.compile(r"(\d{20})\.json")


class Revision(NamedTuple):
    """A version, and whose word it is.

    Attributes:
        version: The version.
        by: Who keeps it.
    """

    version: str
    by: str


def of_source(source: str) -> Revision | None:
    """Return the version of what an address leads to, where the address, or a folder of this machine, tells it."""
    parts = urlsplit(source)
    if parts.scheme == "lakefs":
        reference = parts.path.strip("/").partition("/")[0]
        return Revision(reference, "lakeFS") if reference else None
    if parts.scheme in {"", "file"}:
        return of_path(Path(parts.path if parts.scheme else source).absolute())
    return None


def of_path(path: Path) -> Revision | None:
    """Return the version of a file or folder of this machine."""
    if not path.exists():
        return None
    return _of_delta(path) or _of_dvc(path) or _of_git(path) or _of_content(path)


def _of_delta(path: Path) -> Revision | None:
    """Return the newest version of a Delta table: its log has a file for each."""
    found = [int(match[1]) for each in path.glob("_delta_log/*.json") if (match := _DELTA.fullmatch(each.name))]
    return Revision(str(max(found)), "Delta") if found else None


def _of_dvc(path: Path) -> Revision | None:
    """Return the fingerprint that DVC keeps, in a file beside it or in the lock of a pipeline above it."""
    beside = path.with_name(f"{path.name}.dvc")
    if beside.is_file():
        return next((Revision(md5, "DVC") for name, md5 in _outs(_yaml(beside)) if name == path.name), None)
    for folder in path.parents:
        if (folder / "dvc.lock").is_file():
            stages = _yaml(folder / "dvc.lock").get("stages")
            wanted = path.relative_to(folder).as_posix()
            every = [out for stage in (stages or {}).values() for out in _outs(stage)]
            return next((Revision(md5, "DVC") for name, md5 in every if name == wanted), None)
        if (folder / ".git").exists() or (folder / ".dvc").is_dir():
            break
    return None


def _yaml(file: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _outs(stage: Any) -> list[tuple[str, str]]:
    outs = stage.get("outs") if isinstance(stage, dict) else None
    found = [out for out in outs or [] if isinstance(out, dict)]
    digests = [(str(out.get("path")), out.get("md5") or out.get("hash")) for out in found]
    return [(name, str(digest)) for name, digest in digests if digest]


def _of_git(path: Path) -> Revision | None:
    """Return the commit that last changed a file, if the file is as that left it."""
    root = code.root_of(path)
    if root is None or not path.is_file():
        return None
    name = path.relative_to(root).as_posix()
    if code.git(root, "ls-files", "--error-unmatch", "--", name) is None:
        return None
    if code.git(root, "status", "--porcelain", "--", name) != b"":
        return None
    commit = (code.git(root, "log", "-1", "--format=%H", "--", name) or b"").decode().strip()
    return Revision(commit, "git") if commit else None


def _of_content(path: Path) -> Revision | None:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return None
        whole = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(1_000_000):
                whole.update(piece)
        return Revision(f"sha256:{whole.hexdigest()}", "content")
    except OSError:
        return None
