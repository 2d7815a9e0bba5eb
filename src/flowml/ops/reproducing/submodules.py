"""The submodules of a commit that is checked out, from the clone that has them: nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flowml.ops.reproducing.git import git, said

_LINK = "160000 "  # the mode of a submodule in git's index


@contextmanager
def checked_out(repository: Path, folder: Path, *, keep: bool) -> Iterator[None]:
    """Check the submodules of a worktree out for the body of the ``with``, and theirs.

    Args:
        repository: The clone that the worktree is of.
        folder: The worktree.
        keep: Leave them there.

    Raises:
        LookupError: If the clone does not have one of them, or not at that commit.
    """
    with ExitStack() as stack:
        for name, commit in _named(folder):
            stack.enter_context(_one(repository / name, folder / name, name, commit, keep=keep))
        yield


def _named(folder: Path) -> list[tuple[str, str]]:
    """Return the path of each submodule, with its commit."""
    if not (folder / ".gitmodules").exists():
        return []
    listed = git(folder, "ls-files", "--stage", "-z").stdout.decode("utf-8", "surrogateescape").split("\0")
    links = [line.partition("\t") for line in listed if line.startswith(_LINK)]
    return [(path, told.split(" ")[1]) for told, _, path in links]


@contextmanager
def _one(origin: Path, folder: Path, name: str, commit: str, *, keep: bool) -> Iterator[None]:
    if not (origin / ".git").exists():
        msg = f"The submodule {name} is not in {origin}. Fetch it: git submodule update --init --recursive"
        raise LookupError(msg)
    done = git(origin, "worktree", "add", "--detach", str(folder), commit)
    if done.returncode:
        msg = f"The submodule {name} cannot be checked out at its commit {commit}: {said(done)}"
        raise LookupError(msg)
    try:
        with checked_out(origin, folder, keep=keep):
            yield
    finally:
        if not keep:
            git(origin, "worktree", "remove", "--force", str(folder))
