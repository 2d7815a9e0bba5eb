"""The example that trains: its lineage is valid, and leads from the model back to the data and the code."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sklearn import datasets
from tests.lineage.standard import check

FLOWS = Path(__file__).parents[2] / "flows"


def git(folder: Path, *words: str) -> str:
    """Run git as nobody in particular."""
    who = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def events(project: Path, prefect_server: None, catalogue: Any) -> list[dict[str, Any]]:
    """The events of the example, which runs from a repository that has its table, too."""
    shutil.copy(FLOWS / "train.py", project)
    table = datasets.load_breast_cancer(as_frame=True).frame.head(150)
    table.to_csv(project / "cancer.csv", index=False)
    git(project, "init", "--quiet", "--initial-branch=main")
    git(project, "remote", "add", "origin", "https://ada:hunter22@git.example.org/team/churn.git")
    git(project, "add", "train.py", "cancer.csv")
    git(project, "commit", "--quiet", "--message=Begin")
    runpy.run_path(str(project / "train.py"))["training"](Path("cancer.csv"))
    found: list[dict[str, Any]] = catalogue.events
    return found


@pytest.mark.slow
def test_the_chain_walks_from_the_model_to_the_data_and_the_commit(project: Path, events: list[dict[str, Any]]) -> None:
    """Each event is valid; each run begins and ends once; model, tables, file and commit are one chain of names."""
    for event in events:
        check(event)
    runs = {event["run"]["runId"] for event in events}
    for run in runs:
        assert [event["eventType"] for event in events if event["run"]["runId"] == run] == ["START", "COMPLETE"]
    assert len(runs) == 1 + 2 + 6 + 6 + 1

    done = [event for event in events if event["eventType"] == "COMPLETE"]
    (whole,) = [event for event in done if event["job"]["name"] == "training"]
    for event in done:
        if event is not whole:
            parent = event["run"]["facets"]["parent"]
            assert parent["run"]["runId"] == parent["root"]["run"]["runId"] == whole["run"]["runId"]

    by_output: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for event in done:
        for output in event["outputs"]:
            by_output.setdefault((output["name"], output["facets"]["version"]["datasetVersion"]), []).append(event)
    (registering,) = next(made for (name, _), made in by_output.items() if name == "models/classifier")
    (model,) = [each for each in registering["inputs"] if each["name"].startswith("training.fit/")]
    fitting = [event for (name, _), made in by_output.items() for event in made if name == model["name"]]
    assert {event["job"]["name"] for event in fitting} == {"training.fit"}
    tested = next(each for each in registering["inputs"] if each["name"] == "training.split/test")
    assert len(tested["facets"]["schema"]["fields"]) == 31
    (splitting,) = by_output[tested["name"], tested["facets"]["version"]["datasetVersion"]]
    assert splitting["job"]["name"] == "training.split"
    (clean,) = splitting["inputs"]
    (validating,) = by_output[clean["name"], clean["facets"]["version"]["datasetVersion"]]
    assert validating["job"]["name"] == "training.validate"

    commit = git(project, "rev-parse", "HEAD")
    (file,) = [each for each in whole["inputs"] if each["namespace"] == "file"]
    assert file["name"] == (project / "cancer.csv").as_posix()
    assert file["facets"]["version"]["datasetVersion"] == commit
    code = registering["job"]["facets"]["sourceCodeLocation"]
    assert (code["version"], code["path"], code["branch"]) == (commit, "train.py", "main")
    assert code["url"] == f"https://git.example.org/team/churn/blob/{commit}/train.py"
    assert "hunter22" not in str(events)
