"""Which code a flow was run from, as git tells: the commit, and what was changed since, without secrets."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
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
_WHOLE = ("--binary", "--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=dirty")
_LINK = "120000"
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")  # a hook of git's has them
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
        return Seen(root, Code(diff="none" if root is None else _why_none()))
    lines = list(_lines(status))
    commit = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    if commit == "(initial)":
        return Seen(root, Code(diff="the repository has no commit"))
    changes = [line for line in lines if line.startswith(("1 ", "2 ", "u "))]
    untracked = [line[2:] for line in lines if line.startswith("? ")]
    modified, littered = _submodules(changes)
    untracked += littered
    if not (changes or untracked):
        return Seen(root, Code(commit, dirty=False))
    why = f"the submodule {modified[0]} has changes that are not committed" if modified else ""
    if any(_size(root / _path(line)) > _LARGEST_FILE for line in changes):
        why = "a changed file is too large"
    if why:
        return _with_diff(root, commit, None, why, untracked[:_NAMED])
    changed = git(root, "diff", "HEAD", *_WHOLE) if changes else b""
    new, added = _untracked(root) if untracked else (b"", set[str]())
    left_out = [name for name in untracked if not any(path.startswith(name) for path in added)][:_NAMED]
    return _with_diff(root, commit, None if changed is None else changed + new, "git did not tell them", left_out)


def _why_none() -> str:
    return "git did not tell it" if shutil.which("git") else "git is not installed where the flow ran"


def _lines(status: bytes) -> Iterator[str]:
    """Give the lines of `git status --porcelain=v2 -z`, without the old names of what was renamed, which follow it."""
    told = iter(status.decode("utf-8", "replace").split("\0"))
    for line in told:
        yield line
        if line.startswith("2 "):
            next(told, None)


def _path(line: str) -> str:
    return line.split(" ", _BEFORE_PATH[line[0]])[-1]


def _submodules(changes: list[str]) -> tuple[list[str], list[str]]:
    """Return the submodules with changed files, which no diff here has, and those that have new files alone."""
    told = [(line.split(" ", 3)[2], _path(line)) for line in changes]  # S, then C, M and U: commit, changes, untracked
    modified = [path for state, path in told if state.startswith("S") and state[2] == "M"]
    return modified, [f"{path}/" for state, path in told if state.startswith("S") and state[2:] == ".U"]


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
            mode, size = _mode(root / name)
            left -= size
            text = _content(root / name, mode) if left > 0 and name.isprintable() and '"' not in name else None
        except OSError:
            continue
        if text is not None and b"\0" not in text:
            found += _adding(name, mode, text)
            added.add(name)
    return found, added


def _mode(path: Path) -> tuple[str, int]:
    """Return how git calls a file's mode, and the file's size."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return _LINK, found.st_size
    return "100755" if found.st_mode & stat.S_IXUSR else "100644", found.st_size


def _content(path: Path, mode: str) -> bytes:
    return os.fsencode(path.readlink()) if mode == _LINK else path.read_bytes()


def _adding(name: str, mode: str, text: bytes) -> bytes:
    new = f"diff --git a/{name} b/{name}\nnew file mode {mode}\n"
    if not text:
        return f"{new}index 0000000..e69de29\n".encode()
    lines = text.removesuffix(b"\n").split(b"\n")
    body = b"\n".join(b"+" + line for line in lines)
    end = b"\n" if text.endswith(b"\n") else b"\n\\ No newline at end of file\n"
    count = len(lines)
    head = f"{new}--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{count} @@\n"
    return head.encode() + body + end


def of_its_own() -> dict[str, str]:
    """Return an environment in which git looks at the folder that it is called in, also in a hook of another."""
    return {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}


def git(root: Path, *words: str) -> bytes | None:
    """Ask git about a repository; None if it does not answer, or is not there."""
    environment = {**of_its_own(), "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
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
