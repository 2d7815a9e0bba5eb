"""A commit with the changes that were made since, checked out in a place of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flowml.ops.reproducing.recorded import Recorded
from flowml.secrets import MASK


def repository_here() -> Path:
    """Return the folder of the repository that this is called in.

    Raises:
        LookupError: If it is none.
    """
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / ".git").exists():
            return folder
    msg = f"{here} is in no git repository: call this in a clone of the one that the run was made from, or with --here."
    raise LookupError(msg)


def check(repository: Path, recorded: Recorded) -> str:
    """Return the commit that is to be checked out.

    Raises:
        LookupError: If none was recorded, this repository does not have it, or the changes since are not known.
    """
    code = recorded.origin.code
    if code.commit is None:
        msg = "The run was made from no commit of a git repository; `--here` runs what is here now."
        raise LookupError(msg)
    if _git(repository, "cat-file", "-e", f"{code.commit}^{{commit}}").returncode:
        msg = f"The repository {repository} does not have the commit {code.commit}. Fetch it: git fetch --all"
        raise LookupError(msg)
    if code.diff not in {"none", "whole", "masked"}:
        msg = f"The run was made with changes that were not kept: {code.diff}. `--here` runs what is here now."
        raise LookupError(msg)
    return code.commit


@contextmanager
def checked_out(
    repository: Path, recorded: Recorded, folder: Path, *, data: Sequence[str], keep: bool
) -> Iterator[Path]:
    """Check the recorded code out for the body of the ``with``.

    Args:
        repository: A clone.
        recorded: What to check out.
        folder: Where; there must be nothing yet.
        data: Files and folders of the clone that git does not have, to be linked.
        keep: Leave it there.

    Raises:
        LookupError: If it cannot be.
    """
    commit = check(repository, recorded)
    links = [_below(repository, name) for name in data]
    _must(_git(repository, "worktree", "add", "--detach", str(folder), commit), f"check {commit} out")
    try:
        if recorded.diff:
            _apply(folder, recorded)
        for name in links:
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.symlink_to(repository / name)
        yield folder
    finally:
        if not keep:
            _git(repository, "worktree", "remove", "--force", str(folder))


def _apply(folder: Path, recorded: Recorded) -> None:
    done = _git(folder, "apply", "--whitespace=nowarn", "-", text=recorded.diff)
    if done.returncode:
        masked = f" Secrets in them are masked as {MASK}." if recorded.origin.code.diff == "masked" else ""
        msg = f"The changes since the commit cannot be applied.{masked} git says: {_said(done)}"
        raise LookupError(msg)


def _below(repository: Path, name: str) -> Path:
    place = Path(os.path.abspath(name))  # noqa: PTH100 - a link is linked as it is
    if not place.exists() or not place.is_relative_to(repository):
        msg = f"--data cannot be {name!r}: it is a file or folder in {repository}."
        raise LookupError(msg)
    return place.relative_to(repository)


def _git(folder: Path, *words: str, text: str | None = None) -> subprocess.CompletedProcess[bytes]:
    given = None if text is None else text.encode()
    try:
        return subprocess.run(["git", *words], cwd=folder, input=given, capture_output=True, check=False)  # noqa: S603, S607 - flowml's own words
    except FileNotFoundError:
        msg = "git is not installed here, and is what checks the code out. `--here` needs none."
        raise LookupError(msg) from None


def _must(done: subprocess.CompletedProcess[bytes], what: str) -> None:
    if done.returncode:
        msg = f"git could not {what}: {_said(done)}"
        raise LookupError(msg)


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return " ".join(done.stderr.decode("utf-8", "replace").split())[:1000]
