"""Run the quick tests where flowml says it works.

On every Python that this machine has, with the locked libraries; on the oldest Python with the lowest versions that
pyproject.toml admits; on the newest Python with the newest. Each has a venv of its own under .cache/compat/.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENVS = ROOT / ".cache" / "compat"
UV = Path(sys.executable).with_name("uv")
QUICK = "not slow and not e2e and not soak"


@dataclass(frozen=True)
class Setting:
    """One Python with one choice of libraries: "locked", "lowest" or "highest"."""

    version: str
    python: Path
    libraries: str

    @property
    def name(self) -> str:
        """What the table and the venv's folder call it, such as ``3.12-locked``."""
        return f"{self.version}-{self.libraries}"


def declared_versions() -> list[str]:
    """Read the Pythons that pyproject.toml names in its classifiers, oldest first."""
    found = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    return sorted(found, key=lambda version: int(version.split(".")[1]))


def find_python(version: str) -> Path | None:
    """Find an interpreter of this version that runs: on PATH, or among pyenv's."""
    folders = [Path(folder) for folder in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders += sorted((pyenv / "versions").glob(f"{version}*/bin"))
    for folder in folders:
        python = folder / f"python{version}"
        if python.is_file() and runs(python, "-c", "import ensurepip, sqlite3, ssl, venv"):
            return python
    return None


def runs(*command: str | Path) -> bool:
    """Say whether a command ends well, without its output."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def install(setting: Setting) -> Path:
    """Make the venv of a setting and return its Python."""
    venv = VENVS / setting.name
    python = venv / "bin" / "python"
    target = ["--python", str(python)]
    if not python.exists():
        uv("venv", "--quiet", "--clear", "--seed", "--python", str(setting.python), str(venv))
    project = ["--editable", str(ROOT), "--group", f"{ROOT / 'pyproject.toml'}:dev"]
    if setting.libraries == "locked":
        uv("pip", "install", "--quiet", *target, "--constraint", str(ROOT / "constraints.txt"), *project)
    elif setting.libraries == "highest":
        uv("pip", "install", "--quiet", "--upgrade", *target, *project)
    else:
        # Only what flowml itself asks for is lowered; the tools that test it stay as they are.
        lowest = VENVS / f"{setting.name}.txt"
        pinned = ["--resolution", "lowest-direct", "--python-version", setting.version, "--output-file", str(lowest)]
        uv("pip", "compile", "--quiet", *pinned, str(ROOT / "pyproject.toml"))
        uv("pip", "install", "--quiet", *target, "--constraint", str(lowest), *project)
    return python


def uv(*arguments: str) -> None:
    """Run uv, and let it say what is wrong."""
    subprocess.run([UV, *arguments], cwd=ROOT, check=True)


def check(setting: Setting) -> str:
    """Install and test one setting; return what to print about it."""
    print(f"\n=== {setting.name}: installing", flush=True)
    try:
        python = install(setting)
    except subprocess.CalledProcessError:
        return "FAILED to install"
    shown = "import importlib.metadata as m; print(*(f'{n} {m.version(n)}' for n in ('prefect', 'mlflow')), sep=', ')"
    versions = subprocess.run([python, "-c", shown], capture_output=True, text=True, check=False).stdout.strip()
    tests = [
        python,
        "-m",
        "pytest",
        "-m",
        QUICK,
        "-q",
        "--maxfail=10",
        "-o",
        f"cache_dir={VENVS / setting.name / 'pytest'}",
    ]
    # A newer Prefect migrates the database in its home, and an older one cannot start on it any more.
    home = {"PREFECT_HOME": str(VENVS / setting.name / "prefect")}
    passed = subprocess.run(tests, cwd=ROOT, env=os.environ | home, check=False).returncode == 0
    return f"{'passed' if passed else 'FAILED'} with {versions}"


def main(chosen: list[str]) -> int:
    """Check all settings, or those whose name holds one of the given words, and print a table."""
    if shutil.which(str(UV)) is None:
        sys.exit(f"{UV} is missing: run make setup")
    pythons = {version: find_python(version) for version in declared_versions()}
    found = {version: python for version, python in pythons.items() if python}
    if not found:
        sys.exit(f"No Python of {', '.join(pythons)} runs on this machine.")
    (oldest, *_), (*_, newest) = found, found
    settings = [Setting(version, python, "locked") for version, python in found.items()]
    settings += [Setting(oldest, found[oldest], "lowest"), Setting(newest, found[newest], "highest")]
    wanted = [setting for setting in settings if not chosen or any(word in setting.name for word in chosen)]
    results = {setting.name: check(setting) for setting in wanted}

    print()
    for version in pythons.keys() - found.keys():
        print(f"{version:13} not on this machine")
    for name, result in results.items():
        print(f"{name:13} {result}")
    return int(not results or any("FAILED" in result for result in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
