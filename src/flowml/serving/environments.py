"""The packages that a version asks for: whether they are installed here, and an environment that has them if not."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock
from packaging.requirements import InvalidRequirement, Requirement

from flowml import settings
from flowml.errors import ServingError
from flowml.stack.processes import program

_READY = "ready"
_PATIENCE = 1800.0  # seconds that uv may take: some packages have gigabytes
_LONGEST = 800  # characters of what uv says
_SERVER = "mlflow"  # the scoring server is its own, and not what a model is made of


def misfits(folder: Path) -> list[str]:
    """Return what a version asks for and this environment does not have.

    Args:
        folder: The version's files.

    Returns:
        A text for each, such as ``scikit-learn==1.4.2 (1.7.0 is installed)``.
    """
    return list(_misfits(folder))


def _misfits(folder: Path) -> Iterator[str]:
    for wanted in requirements(folder):
        if wanted.name.lower() == _SERVER or (wanted.marker and not wanted.marker.evaluate()):
            continue
        try:
            installed = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{wanted} (not installed)"
            continue
        if not wanted.specifier.contains(installed, prereleases=True):
            yield f"{wanted} ({installed} is installed)"


def requirements(folder: Path) -> list[Requirement]:
    """Return the packages that a version asks for, as far as they have names."""
    file = folder / "requirements.txt"
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    found = []
    for line in lines:
        try:
            found.append(Requirement(re.split(r"\s#|^#", line)[0].strip()))
        except InvalidRequirement:  # an option, a file, an empty line
            continue
    return found


def make(folder: Path) -> Path:
    """Make an environment with the packages that a version asks for, or find the one that was made.

    Args:
        folder: The version's files.

    Returns:
        Its Python.

    Raises:
        ServingError: If it cannot be made.
    """
    wanted = (folder / "requirements.txt").read_text("utf-8")
    key = hashlib.sha256(f"{platform.python_version()}\n{wanted}".encode()).hexdigest()[:16]
    place = settings.home_folder() / "environments" / key
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock", timeout=_PATIENCE):
        if not (place / _READY).is_file():
            uv = _uv()
            _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)], "make an environment")
            install = [uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(folder / "requirements.txt")]
            _run([*install, "uvicorn", "fastapi"], "install its packages")
            (place / _READY).touch()
    return python


def _uv() -> str:
    found = program("uv")
    if found is None:
        msg = (
            "uv is not installed here, and is what makes an environment of its own for a version whose packages differ "
            "from those here: pip install uv. Or serve it with the packages that are here: --env-manager local."
        )
        raise ServingError(msg)
    return found


def _run(words: list[str], what: str) -> None:
    done = subprocess.run(words, capture_output=True, check=False, timeout=_PATIENCE)  # noqa: S603 - flowml's own words
    if done.returncode:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[-_LONGEST:]
        msg = f"uv could not {what}: {said}"
        raise ServingError(msg)
