"""A virtual environment with the recorded Python and packages, built by uv."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from flowml.ops.reproducing.recorded import Recorded
from flowml.stack.processes import program as find_program

_CHECK = "import sys; sys.path = [each for each in sys.path if each]; import flowml.ops.reproducing"  # not from here
_LONGEST = 2000  # characters of what uv says


def uv() -> str:
    """Return the program uv: the one on the path, or in this environment.

    Raises:
        LookupError: If there is none.
    """
    found = find_program("uv")
    if found is None:
        msg = (
            "uv is not installed here, and is what builds the environment: pip install uv. Without it, name a Python "
            "that has the packages with --python, or take this one with --here."
        )
        raise LookupError(msg)
    return found


def check_python(path: str) -> str:
    """Return a Python that somebody named, as an absolute path.

    Raises:
        LookupError: If it is no program, or has no flowml.
    """
    program = shutil.which(path)
    if program is None:
        msg = f"--python cannot be {path!r}: there is no such program."
        raise LookupError(msg)
    program = os.path.abspath(program)  # noqa: PTH100 - a link stays one: it is what makes it an environment's
    done = subprocess.run([program, "-c", _CHECK], capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        msg = f"--python cannot be {path!r}: it has no flowml that can reproduce. {_end(done.stderr)}"
        raise LookupError(msg)
    return program


def build(recorded: Recorded, root: Path, folder: Path) -> str:
    """Build the environment, and return its Python.

    Args:
        recorded: What is to be in it.
        root: The code's folder, in which the lock's relative paths lead somewhere.
        folder: Where it is built.

    Raises:
        LookupError: If it cannot be built.
    """
    program, place = uv(), folder / "environment"
    lock = folder / "requirements.txt"
    lock.write_text("".join(f"{_absolute(line, root)}\n" for line in recorded.lock.splitlines()), "utf-8")
    wanted = recorded.origin.python
    base = sys.executable if platform.python_version() == wanted else wanted  # uv need not look for it then
    _run([program, "venv", "--python", base, str(place)], root, f"make an environment with Python {wanted}")
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # The lock is whole: what it does not name was not there.
    install = [program, "pip", "install", "--python", str(python), "--no-deps", "-r", str(lock)]
    _run(install, root, "install the packages")
    return str(python)


def _absolute(line: str, root: Path) -> str:
    """Name a package of the code's own folder by its whole path."""
    if not line.startswith(("./", "-e ./")):
        return line
    editable, _, place = line.partition("  #")[0].partition("./")
    return f"{editable}{root}/{place}".rstrip("/")


def _run(words: list[str], root: Path, what: str) -> None:
    done = subprocess.run(words, cwd=root, capture_output=True, check=False)  # noqa: S603 - flowml's own words
    if done.returncode:
        msg = f"uv could not {what}: {_end(done.stderr)}"
        raise LookupError(msg)


def _end(said: bytes) -> str:
    return " ".join(said.decode("utf-8", "replace").split())[-_LONGEST:]
