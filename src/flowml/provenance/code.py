"""Which code a flow was run from, as git tells: the commit, and what was changed since, without secrets."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from flowml.provenance.files import Code
from flowml.secrets import mask

_LARGEST = 1_000_000  # bytes of a diff that is kept
_LARGEST_FILE = 20_000_000  # bytes of a changed file that git is asked about: it would read all of it
_PATIENCE = 20.0  # seconds for git, in the background
_NAMED = 10  # untracked files
_CODE = ("*.py", "*.pyi", "*.sql", "*.toml", "*.cfg", "*.ini")  # untracked files that belong to the code
_BEFORE_PATH = {"1": 8, "2": 9, "u": 10}  # words before the path in a line of `git status --porcelain=v2`
_WHOLE = ("--binary", "--no-ext-diff", "--no-textconv", "--no-color")
_GIT = ("git", "-c", "core.quotepath=off", "-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false")


@dataclass(frozen=True, slots=True)
class Seen:
    """A repository as it was seen.

    Attributes:
        root: Its folder; None where there is none.
        code: What is told of it.
        diff: What was changed since the commit, as ``git apply`` takes it.
    """

    root: Path | None = None
    code: Code = field(default_factory=Code)
    diff: str = ""


def root_of(file: Path) -> Path | None:
    """Return the folder of the repository that a file is in; None also for an installed package's."""
    if "site-packages" in file.parts:
        return None
    return next((folder for folder in file.parents if (folder / ".git").exists()), None)


def seen_from(file: Path) -> Seen:
    """Look at the repository that a flow's file is in; once, until the file is another."""
    try:
        return _seen(file, file.stat().st_mtime_ns)
    except OSError:
        return Seen()


@lru_cache(maxsize=64)
def _seen(file: Path, _: int) -> Seen:
    root = root_of(file)
    status = git(root, "status", "--porcelain=v2", "--branch", "-z") if root else None
    if root is None or status is None:
        return Seen()
    lines = status.decode("utf-8", "replace").split("\0")
    commit = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    if commit == "(initial)":
        return Seen(root, Code(diff="the repository has no commit"))
    changes = [line for line in lines if line.startswith(("1 ", "2 ", "u "))]
    untracked = [line[2:] for line in lines if line.startswith("? ")]
    if not (changes or untracked):
        return Seen(root, Code(commit, dirty=False))
    if any(_size(root / line.split(" ", _BEFORE_PATH[line[0]])[-1]) > _LARGEST_FILE for line in changes):
        return _with_diff(root, commit, None, "a changed file is too large", untracked[:_NAMED])
    changed = git(root, "diff", "HEAD", *_WHOLE) if changes else b""
    new, added = _untracked(root) if untracked else (b"", set[str]())
    left_out = [name for name in untracked if not any(path.startswith(name) for path in added)][:_NAMED]
    return _with_diff(root, commit, None if changed is None else changed + new, "git did not tell them", left_out)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # deleted


def _with_diff(root: Path, commit: str, diff: bytes | None, otherwise: str, left_out: list[str]) -> Seen:
    why = otherwise if diff is None else ""
    if diff is not None and len(diff) > _LARGEST:
        why = f"they are larger than {_LARGEST:,} bytes"
    try:
        text = "" if why or diff is None else diff.decode()
    except UnicodeDecodeError:
        text, why = "", "they are not UTF-8"
    shown = mask(text)
    told = why or ("none" if not text else "whole" if shown == text else "masked")
    return Seen(root, Code(commit, dirty=bool(text or why), diff=told, left_out=left_out), shown)


def _untracked(root: Path) -> tuple[bytes, set[str]]:
    """Return the code that git does not know yet, as a diff that adds it, and which files that is."""
    listed = git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *_CODE) or b""
    found, added, left = b"", set[str](), _LARGEST
    for name in filter(None, listed.decode("utf-8", "replace").split("\0")):
        try:
            left -= (root / name).stat().st_size
            text = (root / name).read_bytes() if left > 0 and name.isprintable() and '"' not in name else None
        except OSError:
            continue
        if text is not None and b"\0" not in text:
            found += _adding(name, text)
            added.add(name)
    return found, added


def _adding(name: str, text: bytes) -> bytes:
    new = f"diff --git a/{name} b/{name}\nnew file mode 100644\n"
    if not text:
        return f"{new}index 0000000..e69de29\n".encode()
    lines = text.removesuffix(b"\n").split(b"\n")
    body = b"\n".join(b"+" + line for line in lines)
    end = b"\n" if text.endswith(b"\n") else b"\n\\ No newline at end of file\n"
    count = len(lines)
    head = f"{new}--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{count} @@\n"
    return head.encode() + body + end


def git(root: Path, *words: str) -> bytes | None:
    """Ask git about a repository; None if it does not answer, or is not there."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603 - the words are flowml's own
            [*_GIT, *words],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
