"""A commit with the changes that were made since, checked out in a place of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess

from flowml.ops.reproducing import submodules
from flowml.ops.reproducing.git import git, said
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
        why = "" if code.diff == "none" else f" ({code.diff})"
        msg = f"No commit of a git repository is known that the run was made from{why}; `--here` runs what is here now."
        raise LookupError(msg)
    if git(repository, "cat-file", "-e", f"{code.commit}^{{commit}}").returncode:
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
    _must(git(repository, "worktree", "add", "--detach", str(folder), commit), f"check {commit} out")
    try:
        if recorded.diff:
            _apply(folder, recorded)
        with submodules.checked_out(repository, folder, keep=keep):
            for name in links:
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                if not place.exists():
                    place.symlink_to(repository / name)
            yield folder
    finally:
        if not keep:
            git(repository, "worktree", "remove", "--force", str(folder))


def _apply(folder: Path, recorded: Recorded) -> None:
    # Of submodules git has to know the commits that the changes make of them; no file here is otherwise than it has it.
    known = ["--index"] if (folder / ".gitmodules").exists() else []
    done = git(folder, "apply", "--whitespace=nowarn", *known, "-", text=recorded.diff)
    if done.returncode:
        masked = f" Secrets in them are masked as {MASK}." if recorded.origin.code.diff == "masked" else ""
        msg = f"The changes since the commit cannot be applied.{masked} git says: {said(done)}"
        raise LookupError(msg)
    if not known:
        git(folder, "add", "--intent-to-add", "--all")  # what is new is among the changes, as it was


def _below(repository: Path, name: str) -> Path:
    place = Path(os.path.abspath(name))  # noqa: PTH100 - a link is linked as it is
    if not place.exists() or not place.is_relative_to(repository):
        msg = f"--data cannot be {name!r}: it is a file or folder in {repository}."
        raise LookupError(msg)
    return place.relative_to(repository)


def _must(done: CompletedProcess[bytes], what: str) -> None:
    if done.returncode:
        msg = f"git could not {what}: {said(done)}"
        raise LookupError(msg)
