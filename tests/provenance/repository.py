"""A project as a git repository, for flows that keep how they were run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from flowml.provenance import packages


def git(folder: Path, *words: str) -> str:
    """Call git in a folder, as somebody."""
    named = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *words]
    return subprocess.run(named, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def committed(project: Path, files: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the project a repository with one commit; what is imported from it is forgotten at the end."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    packages.installed.cache_clear()
    for name, text in {**files, ".gitignore": ".flowml\n__pycache__\n"}.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "Begin")
    yield project
    packages.installed.cache_clear()
    theirs = [name for name, one in sys.modules.items() if str(getattr(one, "__file__", "")).startswith(str(project))]
    for name in theirs:
        del sys.modules[name]
