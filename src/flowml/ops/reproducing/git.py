"""Git, as the reproduction of a run calls it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from flowml.provenance.code import of_its_own


def git(folder: Path, *words: str, text: str | None = None) -> subprocess.CompletedProcess[bytes]:
    """Call git in a folder.

    Args:
        folder: The folder.
        words: What to do.
        text: What it reads.

    Raises:
        LookupError: If git is not installed.
    """
    given = None if text is None else text.encode()
    try:
        return subprocess.run(  # noqa: S603 - flowml's own words
            ["git", *words],  # noqa: S607 - whichever is on the path
            cwd=folder,
            env=of_its_own(),
            input=given,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        msg = "git is not installed here, and is what checks the code out. `--here` needs none."
        raise LookupError(msg) from None


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return what git said when it failed, in a line."""
    return " ".join(done.stderr.decode("utf-8", "replace").split())[:1000]
