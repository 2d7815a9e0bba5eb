"""Where a flow's code is: the file that it is written in, and git for workers that do not see its folder."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flowml.errors import DeploymentError
from flowml.ops.launch import loading
from flowml.secrets import mask

if TYPE_CHECKING:
    import prefect
    from prefect.runner.storage import GitRepository

_SCHEMES = {"https", "http", "ssh", "file"}
_COMMIT = re.compile(r"[0-9a-f]{40}")


def whereabouts(flow: prefect.Flow[..., Any]) -> tuple[Path, str]:
    """Return the file that a flow is written in, and the name by which Prefect finds it there.

    Raises:
        DeploymentError: If it is in no file.
    """
    file = loading.file_of(flow)
    if file is None or not file.is_file():
        msg = f"The flow {flow.name!r} cannot be deployed: it is in no file, from which a worker could load it."
        raise DeploymentError(msg)
    function = inspect.unwrap(flow.fn)
    things = vars(sys.modules[function.__module__]) if function.__module__ in sys.modules else {}
    named = [name for name, thing in things.items() if thing is flow]
    return file, named[0] if named else function.__qualname__


def repository(source: str) -> GitRepository:
    """Return the repository that a source names, written as pip's: ``git+https://host/team/project.git@branch``.

    Args:
        source: After the ``@`` a branch, a tag, or a commit's 40 digits; without it the default branch.

    Raises:
        DeploymentError: If it names none, or holds a password.
    """
    from prefect.runner.storage import GitRepository

    shown = re.sub(r"//[^/]*@", "//********@", mask(source))
    kind, separator, url = source.partition("+")
    parts = urlsplit(url)
    path, wanted = parts.path.rsplit("@", 1) if "@" in parts.path else (parts.path, "")
    if kind != "git" or not separator or parts.scheme not in _SCHEMES or not path.strip("/"):
        msg = f"source={shown!r} cannot be: a git repository is written git+https://host/team/project.git@branch."
        raise DeploymentError(msg)
    if mask(url) != url or (parts.username and parts.scheme != "ssh"):
        msg = f"source={shown!r} holds a password or token, which Prefect would show to everybody. "
        msg += "Let git find it where the worker runs: an SSH key, or a credential helper."
        raise DeploymentError(msg)
    is_commit = bool(_COMMIT.fullmatch(wanted))
    return GitRepository(
        url=parts._replace(path=path).geturl(),
        branch=None if is_commit else wanted or None,
        commit_sha=wanted if is_commit else None,
    )


def root_of(file: Path) -> Path:
    """Return the folder that a file's repository is cloned to.

    Raises:
        DeploymentError: If it is in none.
    """
    for folder in file.parents:
        if (folder / ".git").exists():
            return folder
    msg = (
        f"{file} is in no git repository, so there is no saying where a worker finds it in the one that source= names."
    )
    raise DeploymentError(msg)
