"""``flowml reproduce``: a flow run again from what its run keeps, and compared."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL
from sklearn.datasets import load_iris
from tests.ops.conftest import Said
from tests.provenance.repository import committed, git
from tests.runs import all_runs

from flowml.ops.launch.loading import load
from flowml.ops.reproducing import environment
from flowml.ops.reproducing.recorded import Recorded
from flowml.provenance.files import Code, Origin, Parameters

Flowml = Callable[..., Said]

FILE = """
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
from sklearn.linear_model import LogisticRegression

from flowml import flow, task


@task
def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path)


@task
def fit(table: pd.DataFrame, c: float) -> dict[str, float]:
    rows, target = table.drop(columns="target"), table["target"]
    return {"accuracy": LogisticRegression(C=c, max_iter=1000).fit(rows, target).score(rows, target)}


@flow
def training(path: Path = Path("iris.csv"), strengths: list[float] = [0.01, 1.0], password: str | None = None) -> float:
    table = read(path)
    return max(score["accuracy"] for score in fit.map([table] * 2, strengths).result())


@flow
def tiny() -> float:
    import tiny

    return tiny.VALUE


@flow
def spread(first: int, *rest: int, **more: int) -> float:
    return float(first + sum(rest) + sum(more.values()))


@flow
def lasting(every: timedelta, rate: Decimal, steps: list[timedelta | None], limit: Decimal | None = None) -> dict:
    assert all(type(each) is timedelta for each in (every, *steps[:-1]))
    assert steps[-1] is None and str(rate) == "0.10" and str(limit) == "-1E+3"
    return {"microseconds": every / timedelta(microseconds=1), "days": steps[0] / timedelta(days=1)}
"""


@pytest.fixture
def repository(client: MlflowClient, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project as a repository: a flow, and the measures of 150 irises."""
    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))  # for other processes
    irises = load_iris(as_frame=True).frame.to_csv(index=False)
    with committed(project, {"work.py": FILE, "iris.csv": irises}, monkeypatch):
        yield project


@pytest.mark.e2e
def test_a_clean_run_is_equal(client: MlflowClient, repository: Path, flowml: Flowml) -> None:
    """The commit is checked out, the flow runs in an experiment of its own, and nothing differs; nothing is left."""
    load("work.py:training")(strengths=[0.1, 10.0])
    (repository / "iris.csv").write_text("not,what\nit,was\n")  # the commit has it as it was
    said = flowml("reproduce", "training", "--python", sys.executable, "--json")
    assert said.code == 0, said
    told = json.loads(said.out)
    assert told["equal"]
    assert told["differences"] == told["causes"] == []
    assert told["compared"]["runs"] == 4
    assert told["compared"]["datasets"] >= 3
    names = {client.get_experiment(run.info.experiment_id).name for run in all_runs(client)}
    assert names == {"training", "training reproduced"}
    assert client.get_run(told["again"]["mlflow_run_id"]).data.tags["flowml.reproduces"] == told["run"]["mlflow_run_id"]
    listed = subprocess.run(["git", "worktree", "list"], cwd=repository, check=True, capture_output=True, text=True)
    assert len(listed.stdout.splitlines()) == 1


@pytest.mark.e2e
def test_another_row_is_named(repository: Path, flowml: Flowml) -> None:
    """With the data that is here now, the data of the task that reads it differs, and so do the metrics after it."""
    load("work.py:training")()
    rows = (repository / "iris.csv").read_text().splitlines()
    (repository / "iris.csv").write_text("\n".join([*rows[:-1], "1.0,1.0,1.0,1.0,0"]) + "\n")
    said = flowml("reproduce", "training", "--here")
    assert said.code == 1, said
    assert "Differs  the data of `read`: read (output): digest " in said.out
    assert "Differs  metric accuracy of `fit`: " in said.out
    assert "Since    changes since the commit none -> iris.csv (" in said.out


@pytest.mark.slow
@pytest.mark.e2e
def test_changes_since_the_commit_are_made_again(repository: Path, flowml: Flowml) -> None:
    """A run of changed code is equal where these changes are known, also when the code here is another by now."""
    (repository / "work.py").write_text(FILE.replace("max_iter=1000", "max_iter=3000, tol=0.1"))
    load("work.py:training")()
    (repository / "work.py").write_text("raise RuntimeError('no longer')\n")
    said = flowml("reproduce", "training", "--python", sys.executable)
    assert said.code == 0, said
    assert "Equal    4 runs, " in said.out


@pytest.mark.slow
@pytest.mark.e2e
def test_parameters_that_have_no_name_of_their_own(repository: Path, flowml: Flowml) -> None:
    """What a flow took as `*rest` and `**more` it is given so again."""
    load("work.py:spread")(1, 2, 3, fourth=4)
    said = flowml("reproduce", "spread", "--python", sys.executable)
    assert said.code == 0, said


@pytest.mark.slow
@pytest.mark.e2e
def test_lengths_and_decimals_are_given_back(client: MlflowClient, repository: Path, flowml: Flowml) -> None:
    """A `timedelta` and a `Decimal` are kept to the last digit, also in a list, and are of their type again."""
    every, steps = timedelta(days=3, seconds=4, microseconds=5), [timedelta(hours=-36), timedelta(0), None]
    load("work.py:lasting")(every, Decimal("0.10"), steps, limit=Decimal("-1E+3"))
    said = flowml("reproduce", "lasting", "--python", sys.executable)
    assert said.code == 0, said
    assert "is not" not in said.out
    assert [run.data.metrics["days"] for run in all_runs(client)] == [-1.5, -1.5]


@pytest.mark.slow
@pytest.mark.e2e
def test_a_folder_with_names_of_pythons_own(repository: Path, flowml: Flowml, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that was called in a folder with a `types.py` runs again there."""
    inner = repository / "inner"
    inner.mkdir()
    (inner / "types.py").write_text("raise RuntimeError\n")
    monkeypatch.chdir(inner)
    load(f"{repository}/work.py:spread")(1)
    said = flowml("reproduce", "spread", "--python", sys.executable)
    assert said.code == 0, said


@pytest.mark.e2e
@pytest.mark.slow
def test_another_package_is_named(repository: Path, flowml: Flowml, tmp_path: Path) -> None:
    """Run in an environment with another version of a package, the metric and the package are named."""
    first, second = (over_this_one(tmp_path, wheel(tmp_path, version)) for version in ("1.0", "2.0"))
    done = subprocess.run([first, "-m", "flowml", "run", "work.py:tiny"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    said = flowml("reproduce", "tiny", "--python", first)
    assert said.code == 0, said
    said = flowml("reproduce", "tiny", "--python", second)
    assert said.code == 1, said
    assert "Differs  metric tiny of `tiny`: 1 -> 2\nSince    package tiny 1.0 -> 2.0\n" in said.out


@pytest.mark.e2e
@pytest.mark.slow
def test_an_environment_is_built(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uv installs what the lock says: a version from the index, and a package of the code's own folder."""
    monkeypatch.setenv("UV_FIND_LINKS", str(wheel(tmp_path, "1.0").parent))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    wheel(repository, "2.0", "own")
    origin = Origin("work.py:tiny", ".", sys.version.split()[0], "here", None, Code(), Parameters())
    lock = "./own-2.0-py3-none-any.whl  # own 2.0\ntiny==1.0\n"
    python = environment.build(Recorded(None, origin, lock, ""), repository, tmp_path)
    asked = "import own, tiny; print(own.VALUE, tiny.VALUE)"
    assert subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout == "2 1\n"


def wheel(folder: Path, version: str, name: str = "tiny", code: str | None = None) -> Path:
    """Make a wheel with one module in it: one number, if nothing else is said."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", code or f"VALUE = {version[0]}\n")
        file.writestr(f"{about}/METADATA", metadata)
        file.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{about}/RECORD", "")
    return path


def over_this_one(folder: Path, made: Path) -> str:
    """Make an environment with a wheel, over the packages of this one."""
    place = folder / f"with {made.stem}"
    subprocess.run([environment.uv(), "venv", "-q", "--python", sys.executable, str(place)], check=True)
    python = place / "bin" / "python"
    install = [environment.uv(), "pip", "install", "-q", "--python", str(python), "--no-deps", "--no-index"]
    name, version, *_ = made.name.split("-")
    subprocess.run([*install, "--find-links", str(made.parent), f"{name}=={version}"], check=True)
    (site,) = (place / "lib").glob("python*/site-packages")
    (site / "over.pth").write_text("\n".join(path for path in sys.path if "site-packages" in path) + "\n")
    return str(python)


CANNOT = [
    (["nobody"], "holds no run 'nobody'"),
    (["training", "--here", "--python", "python3"], "--python and --data do not go with it"),
    (["training", "--python", "/no/such/python"], "there is no such program"),
    (["training", "--tolerance", "2"], "--tolerance cannot be 2"),
    (["training", "--python", sys.executable, "--data", "/etc"], "--data cannot be '/etc'"),
    (["training", "-p", "n"], "--param cannot be 'n'"),
]


@pytest.mark.parametrize("words, why", CANNOT, ids=lambda one: " ".join(one) if isinstance(one, list) else "")
def test_what_cannot_be(words: list[str], why: str, repository: Path, flowml: Flowml) -> None:
    """A wrong run, option, place or parameter ends with 2, and the message says what is wrong."""
    load("work.py:training")()
    said = flowml("reproduce", *words)
    assert said.code == 2, said
    assert why in said.err


def test_a_masked_parameter_must_be_given(repository: Path, flowml: Flowml) -> None:
    """A secret is in no run, so it is asked for by its name."""
    load("work.py:training")(password="l0velace99")
    said = flowml("reproduce", "training", "--here")
    assert said.code == 2
    assert "its secret was masked" in said.err
    assert said.err.endswith("Give it: --param password=...\n")


def test_a_commit_that_is_not_here(repository: Path, flowml: Flowml, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another repository, or in none, the run's commit is asked for."""
    load("work.py:training")()
    shutil.rmtree(repository / ".git")
    git(repository, "init", "-q")
    said = flowml("reproduce", "training")
    assert (said.code, "does not have the commit" in said.err) == (2, True)


def test_a_run_that_keeps_nothing(repository: Path, flowml: Flowml, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the setting off there is nothing to run again, and the message says so."""
    monkeypatch.setenv("FLOWML_REPRODUCE", "false")
    load("work.py:training")()
    said = flowml("reproduce", "training")
    assert (said.code, "does not say how it was made" in said.err) == (2, True)


def test_without_uv(repository: Path, flowml: Flowml, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where uv is missing, the message says how to get it and what goes without."""
    load("work.py:training")()
    git_alone = tmp_path / "bin"
    git_alone.mkdir()
    (git_alone / "git").symlink_to(shutil.which("git") or "")
    monkeypatch.setenv("PATH", str(git_alone))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    said = flowml("reproduce", "training")
    assert said.code == 2
    assert "pip install uv" in said.err


def test_changes_whose_secrets_are_masked(repository: Path, flowml: Flowml) -> None:
    """A diff that no longer applies, since a secret in it is masked, is said."""
    address = "postgresql://ada:l0velace99@db/churn"
    (repository / "pyproject.toml").write_text(f'url = "{address}"\nn = 1\n')
    git(repository, "commit", "-qam", "A secret, by mistake")
    (repository / "pyproject.toml").write_text(f'url = "{address}"\nn = 2\n')
    load("work.py:training")()
    said = flowml("reproduce", "training", "--python", sys.executable)
    assert said.code == 2
    assert "The changes since the commit cannot be applied. Secrets in them are masked" in said.err
