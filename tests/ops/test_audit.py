"""`flowml audit`: every link of a champion, each missing one by its name, and what was changed by hand."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from tests.runs import run_of

import flowml
from flowml import AtLeast, Model, flow, task
from flowml.cli.app import main
from flowml.store.ledger import Decision, Ledger

Audit = Callable[..., tuple[int, dict[str, Any]]]
LINKS = ["data", "code", "run", "metrics", "model", "gate", "approval", "moves", "serving"]


@pytest.fixture
def audit(capsys: pytest.CaptureFixture[str]) -> Audit:
    """Type the command; return its exit code and what it says as JSON."""

    def typed(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = 0
        try:
            main(["audit", "churn@champion", "--json", *words])
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, json.loads(capsys.readouterr().out)

    return typed


@pytest.fixture
def champion(client: MlflowClient) -> MlflowClient:
    """A champion with all links: trained on a dataset, from a commit, gated, approved, promoted."""

    @task
    def fit(rows: pd.DataFrame) -> Annotated[LogisticRegression, Model("clf", register="churn")]:
        flowml.log_metrics({"rows": len(rows)})
        return LogisticRegression(max_iter=5000).fit(rows.drop(columns="target"), rows["target"])

    @flow
    def release() -> None:
        table = load_breast_cancer(as_frame=True).frame
        fit(table[::2])
        flowml.flush()
        assert flowml.gate("churn/1", table[1::2], "target", rules=[AtLeast("recall", 0.5)], resamples=100)
        (gate,) = Ledger(client, "churn").entries()
        facts = {"approved": True, "evidence": gate.digest}
        Ledger(client, "churn").append(
            Decision(kind="approval", version="1", who="ada", why="<b>good</b>", facts=facts)
        )
        flowml.promote("churn", 1, why="the first")

    release()
    return client


def missing(told: dict[str, Any]) -> list[str]:
    """Return the names of the missing links."""
    return [link["name"] for link in told["links"] if link["missing"]]


def test_a_whole_chain_is_complete(champion: MlflowClient, audit: Audit) -> None:
    """Data with its digest, code, run, metrics, model, gate, approval and move are shown, and it ends with 0."""
    code, told = audit("--verify")
    facts = {link["name"]: link["facts"] for link in told["links"]}
    assert (code, told["complete"], missing(told), told["wrong"]) == (0, True, [], [])
    assert list(facts) == LINKS
    assert facts["data"]["datasets"][0]["digest"]
    assert facts["run"]["run_id"] == run_of(champion, "fit").info.run_id
    assert facts["metrics"]["of_run"]["rows"] > 100
    assert (facts["gate"]["passed"], facts["approval"]["approvals"][0]["who"]) == (True, "ada")
    assert [(move["alias"], move["why"]) for move in facts["moves"]["moves"]] == [("champion", "the first")]


def in_database(project: Path, *statements: str) -> None:
    """Change MLflow's database by hand."""
    with closing(sqlite3.connect(project / ".flowml" / "mlflow.db")) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def losses(project: Path, client: MlflowClient) -> Iterator[tuple[list[str], Callable[[], object]]]:
    """Give each way to lose a link, and the links that are missing then."""
    fit, gate = run_of(client, "fit").info.run_id, run_of(client, "gate").info.run_id
    ((model_id,),) = ([each.model_id for each in run.outputs.model_outputs] for run in [run_of(client, "fit")])
    yield ["data"], lambda: in_database(project, "DELETE FROM inputs WHERE source_type = 'DATASET'")
    yield ["code"], lambda: in_database(project, "DELETE FROM tags WHERE key = 'mlflow.source.git.commit'")
    yield (
        ["metrics"],
        lambda: in_database(
            project, "DELETE FROM latest_metrics", "DELETE FROM metrics", "DELETE FROM logged_model_metrics"
        ),
    )
    yield ["model"], lambda: client.delete_logged_model(model_id)
    yield ["gate"], lambda: client.delete_run(gate)
    yield ["data", "run"], lambda: client.delete_run(fit)


@pytest.mark.parametrize("number", range(6))
def test_a_lost_link_is_named(champion: MlflowClient, project: Path, audit: Audit, number: int) -> None:
    """Whichever link is deleted is named as missing, and the command ends with 1."""
    expected, lose = list(losses(project, champion))[number]
    lose()
    code, told = audit()
    assert code == 1
    assert set(expected) <= set(missing(told)) <= {*expected, "code"}


def test_decisions_that_were_never_made_are_named(client: MlflowClient, audit: Audit) -> None:
    """A version that was made champion by hand lacks its run, gate and approval; nobody knows why it was moved."""
    client.create_registered_model("churn")
    client.create_model_version("churn", "s3://nowhere/model")
    client.set_registered_model_alias("churn", "champion", "1")
    code, told = audit()
    assert (code, missing(told)) == (1, ["data", "code", "run", "metrics", "gate", "approval", "moves"])


def test_what_was_changed_by_hand_is_told(champion: MlflowClient, project: Path, audit: Audit) -> None:
    """A decision that is changed in the database, and evidence that is changed on the disk, fail the check."""
    in_database(project, "UPDATE params SET value = replace(value, 'ada\"', 'eve\"') WHERE key = '000002'")
    code, told = audit("--verify")
    assert (code, told["wrong"]) == (1, ["decision 2 was changed after it was written"])
    (evidence,) = (project / ".flowml").rglob("evidence.json")
    evidence.write_text(evidence.read_text().replace("passed", "Passed"))
    assert any("the evidence of decision 1 was changed" in line for line in audit("--verify")[1]["wrong"])


def test_the_page_needs_nothing_and_escapes_names(champion: MlflowClient, project: Path, audit: Audit) -> None:
    """The HTML file loads nothing from elsewhere, and shows what somebody wrote as text."""
    assert audit("--html", str(project / "audit.html"))[0] == 0
    page = (project / "audit.html").read_text()
    assert "&lt;b&gt;good&lt;/b&gt;" in page
    assert "<b>good</b>" not in page
    assert not any(word in page for word in ("<script", "<link", "<img", "src=", "url("))
