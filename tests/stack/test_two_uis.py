"""Both UIs' servers, and a program that finds them with nothing set: each leads to the other's page of the same run."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.stack.conftest import Project, urls

PROGRAM = """
from flowml import flow, task

@task
def score(rows: list) -> float:
    return 0.5

@flow
def pipeline():
    score([1])

pipeline()
"""


def ask(url: str, asked: dict[str, Any] | None = None) -> Any:
    """Ask a server, as its UI does."""
    body = None if asked is None else json.dumps(asked).encode()
    with urlopen(Request(url, body, {"Content-Type": "application/json"})) as answer:
        return json.load(answer)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_each_ui_leads_to_the_other(running: tuple[Project, str]) -> None:
    """The link in Prefect names the run that MLflow's server has, and that run's tags and note lead back."""
    project, said = running
    prefect, mlflow = urls(said)
    (project.folder / "program.py").write_text(PROGRAM)
    done = project.python("program.py")
    assert done.returncode == 0, done.stderr
    found = ask(f"{prefect}/api/artifacts/filter", {"artifacts": {}})
    links = {each["key"]: each for each in found}
    assert sorted(links) == ["mlflow-run", "mlflow-summary", "mlflow-task-run"]
    for key, kind in (("mlflow-run", "flow"), ("mlflow-task-run", "task")):
        page = re.search(r"\((\S+)/#/experiments/\d+/runs/(\w+)\?workflowType=machine_learning\)", links[key]["data"])
        assert page, links[key]["data"]
        assert page[1] == mlflow
        run = ask(f"{mlflow}/api/2.0/mlflow/runs/get?run_id={page[2]}")["run"]
        tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
        assert tags["flowml.kind"] == kind
        its_id = links[key][f"{kind}_run_id"]
        assert tags[f"prefect.{kind}_run_url"] == f"{prefect}/runs/{kind}-run/{its_id}"
        if kind == "flow":
            assert f"]({prefect}/runs/flow-run/{its_id})" in tags["mlflow.note.content"]
            assert "#/experiments/" in tags["mlflow.note.content"]
            files = ask(f"{mlflow}/api/2.0/mlflow/artifacts/list?run_id={page[2]}&path=flow")["files"]
            assert [each["path"] for each in files] == ["flow/graph.md", "flow/graph.svg"]
    assert "All was sent to MLflow." in links["mlflow-summary"]["data"]
