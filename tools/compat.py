"""Run the quick tests where flowml says it works.

On every Python that this machine has, with the locked libraries; on the oldest Python with the lowest versions that
pyproject.toml admits; on the newest Python with the newest. Each has a venv of its own under .cache/compat/.

Its short form, `oldest`, is part of `make test`: the tests marked compat, on this Python, with the oldest Prefect and
MLflow that are admitted. All else is as locked, so that little has to be installed.
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
PROJECT = ROOT / "pyproject.toml"
LOCK = ROOT / "constraints.txt"
QUICK = "not slow and not e2e and not soak"
SHORT = "oldest"
TESTED_BY = ("pytest", "pytest-timeout")  # what the tests of the short form import, beyond flowml's own dependencies


@dataclass(frozen=True)
class Setting:
    """One Python with one choice of libraries: "locked", "lowest", "highest" or, of Prefect and MLflow, "oldest"."""

    version: str
    python: Path
    libraries: str

    @property
    def name(self) -> str:
        """What the table and the venv's folder call it, such as ``3.12-locked``."""
        return f"{self.version}-{self.libraries}"


def declared_versions() -> list[str]:
    """Read the Pythons that pyproject.toml names in its classifiers, oldest first."""
    found = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PROJECT.read_text())
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
    pins = VENVS / f"{setting.name}.txt"
    if not python.exists():
        subprocess.run([setting.python, "-m", "venv", "--clear", venv], check=True)
    project = ["--editable", str(ROOT), "--group", f"{PROJECT}:dev"]
    if setting.libraries == "locked":
        uv("pip", "install", "--quiet", *target, "--constraint", str(LOCK), *project)
    elif setting.libraries == "highest":
        uv("pip", "install", "--quiet", "--upgrade", *target, *project)
    elif setting.libraries == SHORT:
        try:
            install_oldest(pins, target)
        except subprocess.CalledProcessError:  # where uv cannot, pip can, in minutes: it knows other indexes
            command = [python, "-m", "pip", "install", "--quiet", *lowered(), "--editable", ROOT, *TESTED_BY]
            subprocess.run(command, cwd=ROOT, check=True)
    else:
        # Only what flowml itself asks for is lowered; the tools that test it stay as they are.
        pinned = ["--resolution", "lowest-direct", "--python-version", setting.version, "--output-file", str(pins)]
        uv("pip", "compile", "--quiet", *pinned, str(PROJECT))
        uv("pip", "install", "--quiet", *target, "--constraint", str(pins), *project)
    return python


def install_oldest(pins: Path, target: list[str]) -> None:
    """Install the oldest Prefect and MLflow; of all else what is locked, as far as that goes with them."""
    shutil.copy(LOCK, pins)  # uv keeps to the versions that it finds where it is to write them
    given = pins.with_suffix(".in")
    given.write_text("\n".join(lowered()))
    uv("pip", "compile", "--quiet", *target, "--constraint", given, "--group", "dev", "--output-file", pins, PROJECT)
    uv("pip", "install", "--quiet", *target, "--constraint", pins, "--editable", ROOT, *TESTED_BY)


def lowered() -> list[str]:
    """Pin Prefect and MLflow to the oldest admitted, and what those need on each Python to what the oldest one has."""
    text = PROJECT.read_text()
    oldest = [f"{name}=={version}" for name, version in re.findall(r'"(prefect|mlflow)>=([\d.]+)', text)]
    return oldest + re.findall(r'"([a-z]+<[^;"]+); python_version < ', text)


def uv(*arguments: str | Path) -> None:
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
    tests = ["-q", "-o", f"cache_dir={VENVS / setting.name / 'pytest'}"]
    if setting.libraries == SHORT:
        tests += ["-m", "compat and not slow", *marked()]
    else:
        tests += ["-m", QUICK, "--maxfail=10"]
    # A newer Prefect migrates the database in its home, and an older one cannot start on it any more.
    home = {"PREFECT_HOME": str(VENVS / setting.name / "prefect")}
    command = [python, "-m", "pytest", *tests]
    passed = subprocess.run(command, cwd=ROOT, env=os.environ | home, check=False).returncode == 0
    return f"{'passed' if passed else 'FAILED'} with {versions}"


def marked() -> list[Path]:
    """Find the files with tests marked compat: the others import what is not installed for them."""
    return [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.compat" in path.read_text()]


def main(chosen: list[str]) -> int:
    """Check all settings, or those whose name holds one of the given words, and print a table."""
    if shutil.which(str(UV)) is None:
        sys.exit(f"{UV} is missing: run make setup")
    VENVS.mkdir(parents=True, exist_ok=True)
    if chosen == [SHORT]:
        here = Setting("{}.{}".format(*sys.version_info), Path(sys.executable), SHORT)
        print(result := f"{here.name} {check(here)}")
        return int("FAILED" in result)
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
