"""What an outermost flow's run keeps of how it was made."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from tests.provenance.repository import git
from tests.runs import all_runs, run_of

from flowml.provenance import packages

Train = Callable[..., Any]


def kept(client: MlflowClient, name: str = "training") -> dict[str, str]:
    """Return the files about it, by their names."""
    run_id = run_of(client, name).info.run_id
    paths = [file.path for file in client.list_artifacts(run_id, "reproduce")]
    return {Path(path).name: Path(client.download_artifacts(run_id, path)).read_text() for path in paths}


def origin(client: MlflowClient) -> dict[str, Any]:
    """Return what run.json says."""
    return json.loads(kept(client)["run.json"])


def test_the_code_is_named(client: MlflowClient, repository: Path, train: Train) -> None:
    """A clean repository is told by its commit, the flow by its file in it, and the run's tags say so too."""
    train()
    commit, found = git(repository, "rev-parse", "HEAD"), origin(client)
    assert found["code"] == {"commit": commit, "dirty": False, "diff": "none", "left_out": []}
    assert (found["entrypoint"], found["folder"]) == ("flows/work.py:training", ".")
    assert (found["python"], found["platform"]) == (platform.python_version(), platform.platform())
    tags = run_of(client, "training").data.tags
    assert tags["flowml.entrypoint"] == "flows/work.py:training"
    assert (tags["mlflow.source.git.commit"], tags["flowml.dirty"]) == (commit, "false")
    assert set(kept(client)) == {"run.json", "requirements.txt"}


def test_only_the_outermost_run_keeps_it(client: MlflowClient, train: Train) -> None:
    """Flows and tasks that a flow calls are run again with it."""
    train()
    having = [run for run in all_runs(client) if client.list_artifacts(run.info.run_id, "reproduce")]
    assert [run.data.tags["prefect.flow_name"] for run in having] == ["training"]


def test_the_setting_turns_it_off(client: MlflowClient, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """With FLOWML_REPRODUCE=false nothing of it is kept."""
    monkeypatch.setenv("FLOWML_REPRODUCE", "false")
    train()
    assert kept(client) == {}
    assert "flowml.entrypoint" not in run_of(client, "training").data.tags


def test_changes_are_kept_whole(client: MlflowClient, repository: Path, train: Train, tmp_path: Path) -> None:
    """The diff makes of a clean checkout what was there: changed, deleted and new code, with odd ends of files."""
    (repository / "old.py").write_text("a = 1\n")
    (repository / "gone.py").write_text("b = 1\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "More")
    changed = {
        "old.py": b"a = 2",
        "new folder/fresh.py": b"\n\nc = 1",
        "new folder/__init__.py": b"",
        "crlf.sql": b"select 1\r\n\r\nfrom a\n",
        "flows/ends.py": "d = 'ä'\n\n".encode(),
    }
    for name, text in changed.items():
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_bytes(text)
    (repository / "gone.py").unlink()
    (repository / "rows.csv").write_text("1,2\n")
    train()
    assert origin(client)["code"]["left_out"] == ["rows.csv"]
    assert run_of(client, "training").data.tags["flowml.dirty"] == "true"
    clone, diff = tmp_path / "elsewhere", tmp_path / "diff.patch"
    diff.write_bytes(kept_bytes(client, "diff.patch"))
    git(repository, "clone", "-q", str(repository), str(clone))
    git(clone, "apply", str(diff))
    assert {name: (clone / name).read_bytes() for name in changed} == changed
    assert not (clone / "gone.py").exists()


def kept_bytes(client: MlflowClient, name: str) -> bytes:
    """Return one of the files as it is."""
    return Path(client.download_artifacts(run_of(client, "training").info.run_id, f"reproduce/{name}")).read_bytes()


def test_a_secret_in_the_changes_is_masked(client: MlflowClient, repository: Path, train: Train) -> None:
    """A password that was written into the code is in no file of the run, and that is said."""
    (repository / "pyproject.toml").write_text('url = "postgresql://ada:l0velace99@db/churn"\n')
    train()
    assert origin(client)["code"]["diff"] == "masked"
    assert "l0velace99" not in kept(client)["diff.patch"]
    assert '+url = "postgresql://ada:********@db/churn"' in kept(client)["diff.patch"]


def test_a_diff_that_is_too_large_is_not_kept(client: MlflowClient, repository: Path, train: Train) -> None:
    """Only that there are changes is known then, and why there is no more."""
    (repository / "pyproject.toml").write_text("# a line\n" * 200_000)
    train()
    assert origin(client)["code"]["diff"] == "they are larger than 1,000,000 bytes"
    assert run_of(client, "training").data.tags["flowml.dirty"] == "true"
    assert "diff.patch" not in kept(client)


def test_parameters_are_kept_as_they_were_given(client: MlflowClient, train: Train) -> None:
    """What JSON holds is there, with secrets masked; for all else the reason is."""
    train(n=6, table=pd.DataFrame({"x": [1]}), password="l0velace99", note="token=l0velace99", where=Path("c") / "d")
    found = origin(client)["parameters"]
    assert found["values"] == {"n": 6, "where": "c/d", "password": "********", "note": "token=********"}
    assert found["masked"] == ["password", "note"]
    assert found["missing"] == {
        "untyped": "a PosixPath becomes another value in JSON, and the parameter declares no type",
        "table": "JSON does not hold a DataFrame",
        "hidden": "it is not to be logged",
    }


def test_the_lock_has_every_package(client: MlflowClient, train: Train) -> None:
    """Each package that is installed has a line with its very version."""
    train()
    lines = kept(client)["requirements.txt"].splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    for name in ("prefect", "mlflow", "pandas", "scikit-learn", "typing-extensions"):
        assert pins[name] == version(name)
    assert len(lines) == len(set(lines))


@pytest.mark.parametrize(
    "told, line",
    [
        ({"url": "file:///{root}", "dir_info": {"editable": True}}, "-e ./  # tiny 1.0"),
        ({"url": "file:///{root}/libs/tiny", "dir_info": {}}, "./libs/tiny  # tiny 1.0"),
        ({"url": "file:///elsewhere/tiny", "dir_info": {"editable": True}}, "-e file:///elsewhere/tiny  # tiny 1.0"),
        ({"url": "file:///elsewhere/tiny-1.whl", "archive_info": {}}, "tiny @ file:///elsewhere/tiny-1.whl"),
        (
            {"url": "https://git.example/tiny.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "tiny @ git+https://git.example/tiny.git@abc",
        ),
        (
            {"url": "https://ada:l0velace99@git.example/tiny.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "tiny @ git+https://ada:********@git.example/tiny.git@abc",
        ),
    ],
)
def test_where_a_package_came_from(
    told: dict[str, Any], line: str, client: MlflowClient, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that came from no index is named by where it came from; in the repository by its place there."""
    metadata = Path.cwd() / ".flowml" / "site" / "tiny-1.0.dist-info"
    metadata.mkdir(parents=True)
    told["url"] = told["url"].replace("/{root}", str(Path.cwd()))
    (metadata / "direct_url.json").write_text(json.dumps(told))
    monkeypatch.syspath_prepend(str(metadata.parent))
    packages.installed.cache_clear()
    train()
    assert line in kept(client)["requirements.txt"].splitlines()


def test_a_flow_outside_of_git(client: MlflowClient, repository: Path, train: Train) -> None:
    """Without a repository there is no commit; file, parameters and packages are known all the same."""
    git(repository, "gc", "-q")
    (repository / ".git").rename(repository / "no longer git")
    train()
    found = origin(client)
    assert (found["code"]["commit"], found["code"]["dirty"]) == (None, None)
    assert found["entrypoint"] == f"{repository / 'flows' / 'work.py'}:training"
