"""Promotion, rollback and history: what a user calls and types, and what the history tells of it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated

import mlflow
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from tests.runs import run_of, runs_of

import flowml
from flowml import Model, RegistryError, flow, task
from flowml.cli.app import main
from flowml.ops import reconcile
from flowml.registry import history
from flowml.store.ledger import Decision, Ledger


def told(client, model="churn"):
    """Return the moves of a model in short."""
    moves = history.moves_in(history.entries_of(client, model))
    return [(one.alias, one.before, one.version, one.how) for one in moves]


def train(alias):
    """Run a flow whose task's marker registers a model and gives it an alias."""

    def fit():
        rows = load_iris()
        return LogisticRegression(max_iter=200).fit(rows.data, rows.target)

    fit.__annotations__["return"] = Annotated[LogisticRegression, Model("clf", register="churn", alias=alias)]
    fitting = task(fit)

    @flow
    def training() -> None:
        fitting()

    training()


def typed(capsys, *words):
    """Type a command; return its exit code and what it said."""
    code = 0
    try:
        main(words)
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr()
    return code, said.out + said.err


def test_promotions_in_a_flow_are_tasks_in_the_history(client, versions):
    """A promotion is a task's run, and the history knows that run, the flow's, who, why and what was before."""
    versions("churn", 2)

    @flow
    def release() -> list[str]:
        first = flowml.promote("churn", 1, why="the first")
        return [str(first), str(flowml.promote("churn", 2, expect=1, who="ada", why="better"))]

    assert release() == [
        "churn@champion is version 1 now; there was none before.",
        "churn@champion is version 2 now; it was version 1.",
    ]
    first, second = history.moves_in(history.entries_of(client, "churn"))
    assert (first.version, second.before, second.version) == ("1", "1", "2")
    assert (second.who, second.why, second.how) == ("ada", "better", "promote")
    run = client.get_run(second.run_id)
    assert run.data.tags["prefect.task_name"] == "promote"
    assert run.data.tags["prefect.flow_run_id"] == second.flow_run_id
    assert client.get_registered_model("churn").aliases == {"champion": 2, "previous": 1}


def test_rollback_goes_back_step_by_step(client, versions):
    """Each rollback goes to the version before, over rollbacks and promotions; at the first it stops."""
    versions("churn", 4)

    @flow
    def release() -> list[str]:
        for version in (1, 2, 3):
            flowml.promote("churn", version)
        went = [flowml.rollback("churn").version]
        flowml.promote("churn", 4)
        return [*went, *(flowml.rollback("churn").version for _ in range(2))]

    assert release() == ["2", "2", "1"]
    with pytest.raises(RegistryError, match="version 1 is the first"):
        flow(flowml.rollback.fn, name="again")("churn")
    assert str(client.get_model_version_by_alias("churn", "champion").version) == "1"


def test_a_marker_moves_the_alias_once(client):
    """An alias that a task's marker gives is in the history with its task; the same run does it once."""
    train("challenger")
    (move,) = history.moves_in(history.entries_of(client, "churn"))
    assert (move.alias, move.before, move.version, move.how) == ("challenger", None, "1", "marker")
    assert move.run_id == run_of(client, "fit").info.run_id
    assert move.why == "the marker of the task fit"


def test_a_protected_alias_asks_for_gate_and_approvals(client, versions, project):
    """Without a passed gate and enough approvals nothing moves, by whichever way; what is missing is named."""
    (project / "pyproject.toml").write_text(
        "[tool.flowml.registry.churn]\nchampion = { gate = true, approvals = 2 }\n", encoding="utf-8"
    )
    versions("churn", 2)
    ledger = Ledger(client, "churn")

    @flow
    def release(version: int) -> str:
        return flowml.promote("churn", version).version

    def refused() -> str:
        with pytest.raises(RegistryError) as error:
            release(2)
        return str(error.value)

    assert "version 2 lacks a gate (flowml.gate) and 2 approvals (flowml.approve)" in refused()
    ledger.append(Decision(kind="gate", version="2", who="x", facts={"passed": False}))
    assert "a gate that it passes (entry 1 of its ledger says that it failed)" in refused()
    ledger.append(Decision(kind="gate", version="2", who="x", facts={"passed": True}))
    for _ in range(2):
        ledger.append(Decision(kind="approval", version="2", who="ada", facts={"approved": True}))
    assert "lacks 1 approval (flowml.approve)" in refused()
    ledger.append(Decision(kind="approval", version="2", who="bob", facts={"approved": False}))
    assert "lacks 2 approvals" in refused()
    for who in ("ada", "cy"):
        ledger.append(Decision(kind="approval", version="2", who=who, facts={"approved": True}))
    assert release(2) == "2"
    (move,) = history.moves_in(history.entries_of(client, "churn"))
    assert (move.evidence, move.approved_by) == (2, ("ada", "cy"))


def test_a_protected_alias_is_refused_to_a_marker(client, project):
    """The version is registered, the alias stays where it is, and the run says why."""
    (project / "pyproject.toml").write_text('[tool.flowml.registry."*"]\nchampion = { gate = true }\n')

    train("champion")
    assert client.get_registered_model("churn").aliases == {}
    assert "is protected" in run_of(client, "training").data.tags["flowml.tracking_error"]


def test_approvals_are_not_those_of_a_deleted_model(client, versions, project, monkeypatch):
    """Where a model is deleted and made anew, what was decided about a version of the same number counts no more."""
    monkeypatch.setattr("flowml.store.ledger.policy._CLOCKS", 0)
    (project / "pyproject.toml").write_text("[tool.flowml.registry.churn]\nchampion = { approvals = 1 }\n")
    versions("churn", 1)
    Ledger(client, "churn").append(Decision(kind="approval", version="1", who="ada", facts={"approved": True}))
    client.delete_registered_model("churn")
    versions("churn", 1)
    with pytest.raises(RegistryError, match="lacks 1 approval"):
        flow(flowml.promote.fn, name="release")("churn", 1)


def test_a_marker_works_without_the_history(client, capsys):
    """Where somebody has deleted the ledger the alias is given all the same, and the run says what is missing."""
    train("challenger")
    client.delete_run(str(Ledger(client, "churn").run_id))
    train("challenger")
    assert client.get_registered_model("churn").aliases == {"challenger": 2}
    assert "which its history does not tell" in runs_of(client, "training")[-1].data.tags["flowml.tracking_error"]


def test_commands_promote_roll_back_and_tell(client, versions, capsys):
    """`flowml promote`, `rollback` and `history` do what they say; the decision is a run beside the ledger."""
    versions("churn", 2)
    assert typed(capsys, "promote", "churn", "1", "--why", "the first") == (
        0,
        "churn@champion is version 1 now; there was none before.\n",
    )
    assert typed(capsys, "promote", "churn", "2", "--expect", "1", "--who", "ada")[0] == 0
    assert typed(capsys, "rollback", "churn", "--why", "complaints") == (
        0,
        "churn@champion is version 1 now; it was version 2.\n",
    )
    code, said = typed(capsys, "history", "churn")
    rows = [line.split("\t") for line in said.splitlines()]
    assert code == 0
    assert [(row[2], row[3], row[4], row[6]) for row in rows] == [
        ("champion", "-", "1", "promote"),
        ("champion", "1", "2", "promote"),
        ("champion", "2", "1", "rollback"),
    ]
    assert (rows[1][5], rows[2][9]) == ("ada", "complaints")
    last = history.moves_in(history.entries_of(client, "churn"))[-1]
    run = client.get_run(last.run_id)
    assert (run.info.run_name, run.info.status) == ("roll back churn@champion", "FINISHED")


def test_a_long_wait_is_told_once(versions, monkeypatch, capsys, caplog):
    """Whoever waits for a move that nobody makes, as its process was killed, reads which one it is, and how long."""
    monkeypatch.setattr("flowml.store.ledger.pending._QUIET", 0.1)
    monkeypatch.setattr("flowml.store.ledger.pending._PATIENCE", 0.6)
    Ledger(versions("churn", 3), "churn").append(Decision(kind="move", version="1", alias="champion", who="ada"))
    assert typed(capsys, "promote", "churn", "2")[0] == 0
    (said,) = [each.message for each in caplog.records if "waited for" in each.message]
    assert "the move of churn@champion to version 1 by ada (entry 1 of its history)" in said
    caplog.clear()
    assert typed(capsys, "promote", "churn", "3")[0] == 0
    assert "waited for" not in caplog.text


@pytest.mark.parametrize(
    "words, expected",
    [
        (("promote", "chrun", "1"), "There is no registered model 'chrun'. Did you mean 'churn'?"),
        (("promote", "churn", "9"), "churn has no version 9. Its last versions: 2, 1."),
        (("promote", "churn", "2", "--to", "bad alias"), "'bad alias' cannot be an alias."),
        (("promote", "churn", "2", "--to", "latest"), "'latest' cannot be an alias"),
        (("promote", "churn", "2", "--expect", "2"), "churn@champion is version 1, not version 2 as expected"),
        (("promote", "churn", "2", "--expect", "none"), "churn@champion is version 1, not no version as expected"),
        (("rollback", "churn"), "version 1 is the first that had it. Nothing was changed."),
        (("rollback", "churn", "--alias", "champoin"), "churn has no alias 'champoin'. Did you mean 'champion'?"),
        (("history", "chrun"), "There is no registered model 'chrun'."),
        (("history", "churn", "--at", "yesterday"), "--at cannot be 'yesterday'"),
        (("history", "churn", "--at", "2001-01-01"), "No version was champion at 2001-01-01"),
        (("history", "churn", "--at", ""), "--at cannot be ''"),
        (("history", "churn", "--alias", "champoin"), "No alias 'champoin' of churn was ever moved. Did you mean"),
        (("history", "churn", "--alias", "x", "--at", "2020-01-01"), "No alias 'x' of churn was ever moved. There is"),
        (
            ("history", "churn/1"),
            "'churn/1' is no registered model's name: MLflow takes none with / or :. Did you mean",
        ),
        (("history", ""), "'' is no registered model's name: it is empty. There is 'churn'."),
        (("promote", "churn", "2", "--expect", "v1"), "expect cannot be 'v1'"),
        (("promote", "churn", "two"), "'two' is no number of a version."),
        (("promote", "churn@champion", "2"), "followed by an alias or a version, not both."),
        (("promote", "churn", "2", "--to", "previous"), "flowml rollback <model>"),
        (("rollback", "chrun"), "There is no registered model 'chrun'. Did you mean 'churn'?"),
        (("audit", "churn"), "it is a model's name without an alias or a version."),
        (("audit", "churn/9"), "churn has no version 9. Its last versions: 2, 1."),
        (("audit", "churn@champoin"), "Did you mean 'champion'?"),
        (("audit", "churn/1", "--html", "/no/such/folder/audit.html"), "Name a file in a folder that is there."),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(client, versions, capsys, words, expected):
    """Each wrong wish is answered with the nearest valid thing and exit code 2, and nothing is changed."""
    versions("churn", 2)
    typed(capsys, "promote", "churn", "1")
    before = told(client)
    code, said = typed(capsys, *words)
    assert (code, expected in said) == (2, True), said
    assert told(client) == before


def test_a_number_is_read_as_mlflow_writes_it(client, versions, capsys):
    """Zeros before a version's number make no other version of it, in the history least of all."""
    versions("churn", 2)
    assert typed(capsys, "promote", "churn", "01")[0] == 0
    assert typed(capsys, "promote", "churn", "2", "--expect", "01")[0] == 0
    assert told(client) == [("champion", None, "1", "promote"), ("champion", "1", "2", "promote")]


def test_moves_by_hand_are_found_with_the_time_between(client, versions, capsys):
    """What is moved in MLflow itself stands in the history as such, found by the next look or the reconciling flow."""
    versions("churn", 3)
    typed(capsys, "promote", "churn", "1")
    client.set_registered_model_alias("churn", "champion", "2")
    assert told(client)[-1] == ("champion", "1", "2", "outside")
    client.set_registered_model_alias("churn", "challenger", "3")
    found = reconcile()
    assert [(move["alias"], move["version"], move["how"]) for move in found["churn"]] == [
        ("challenger", "3", "outside")
    ]
    assert reconcile() == {}
    outside = history.moves_in(history.entries_of(client, "churn"))[1]
    assert outside.after is not None
    assert outside.after <= outside.at


def test_who_was_champion_at_a_time(client, versions):
    """The history answers for any moment; where a move by hand lies between, it says that nobody knows."""
    versions("churn", 2)
    flow(flowml.promote.fn, name="release")("churn", 1, who="ada")
    entries = history.entries_of(client, "churn")
    moved = history.moves_in(entries)[0].at
    assert history.at(entries, "champion", moved + timedelta(seconds=1)).who == "ada"
    with pytest.raises(RegistryError, match="No version was champion"):
        history.at(entries, "champion", moved - timedelta(seconds=1))
    between = datetime.now(timezone.utc)
    client.set_registered_model_alias("churn", "champion", "2")
    entries = history.entries_of(client, "churn")
    with pytest.raises(RegistryError, match="Nobody knows which version was champion then"):
        history.at(entries, "champion", between)
    assert history.at(entries, "champion", datetime.now(timezone.utc)).version == "2"


def test_a_task_that_is_tried_again_promotes_once(client, versions):
    """A retry of a promotion that had worked changes nothing."""
    versions("churn", 1)

    @flow
    def release() -> list[int | None]:
        return [flowml.promote("churn", 1).number for _ in range(2)]

    assert release() == [1, None]
    assert len(told(client)) == 1
    assert mlflow.active_run() is None


def test_a_flow_that_runs_again_moves_an_alias_once(client, versions):
    """What an earlier attempt of the flow run, or of a task run, moved is given back, and nothing is moved again."""
    versions("churn", 4)
    attempts: list[list[str]] = []

    @flow(retries=1)
    def release(*, in_task: bool) -> list[str]:
        def steps() -> None:
            attempts.append([])
            for step in (
                lambda: flowml.promote("churn", 4, expect=3),
                lambda: flowml.rollback("churn"),
                lambda: flowml.rollback("churn"),
                lambda: flowml.promote("churn", 3),
            ):
                attempts[-1].append(str(step()))
            if len(attempts) == 1:
                raise ValueError

        task(steps, retries=1)() if in_task else steps()
        return attempts[1]

    @flow
    def prepare() -> None:
        for version in (1, 2, 3):
            flowml.promote("churn", version)

    for in_task in (False, True):
        attempts.clear()
        prepare()
        before = len(told(client))
        assert release(in_task=in_task) == attempts[0]
        assert len(told(client)) == before + 4
        assert client.get_registered_model("churn").aliases["champion"] == 3
