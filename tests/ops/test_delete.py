"""``flowml delete`` and ``flowml restore``: a flow's run with all below it, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.pyfunc import PythonModel
from tests.runs import all_runs, run_of

from flowml import flow, ops, task
from flowml.cli import app


@task
def step() -> int:
    """Open a run by hand too."""
    with mlflow.start_run(run_name="by hand"):
        return 1


@flow
def inner() -> int:
    """Be a flow in a flow."""
    return step()


@flow(flow_run_name="the-outer-one")
def outer() -> int:
    """Call a task and a flow."""
    return step() + inner()


def names(client: MlflowClient, view: int = ViewType.ACTIVE_ONLY) -> list[str]:
    """Name the runs that are there."""
    everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
    return sorted(_name(run) for run in client.search_runs(everywhere, run_view_type=view))


def _name(run: Run) -> str:
    tags = run.data.tags
    if "flowml.kind" not in tags:
        return str(run.info.run_name)
    return str(tags.get("prefect.task_name") or tags["prefect.flow_name"])


def flowml(*words: str) -> None:
    """Run the command in this process."""
    app.app(list(words), result_action="return_value")


WAYS: dict[str, Callable[[Run], str]] = {
    "Prefect's id": lambda run: run.data.tags["prefect.flow_run_id"],
    "Prefect's name": lambda run: run.data.tags["prefect.flow_run_name"],
    "MLflow's id": lambda run: run.info.run_id,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_flow_run_goes_with_all_below_it(client: MlflowClient, capsys: pytest.CaptureFixture[str], way: str) -> None:
    """Named in any way, a flow's run and all below it go, whatever depth and maker, and come back."""
    outer()
    inner()
    named = WAYS[way](run_of(client, "outer"))
    before = {run.info.run_id: run.data.tags for run in all_runs(client)}
    flowml("delete", named, "--yes")
    assert f"6 runs deleted; `flowml restore {named}` brings them back.\n" in capsys.readouterr().out
    assert names(client) == ["by hand", "inner", "step"]
    flowml("restore", named)
    assert capsys.readouterr().out == "6 runs restored.\n"
    assert {run.info.run_id: run.data.tags for run in all_runs(client)} == before


def test_only_what_went_with_it_comes_back(client: MlflowClient) -> None:
    """A run that was deleted before stays deleted when the flow's comes back; so does a flow deleted on its own."""
    outer()
    (by_hand,) = [
        run.info.run_id
        for run in all_runs(client)
        if _name(run) == "by hand" and run.data.tags["prefect.flow_name"] == "outer"
    ]
    client.delete_run(by_hand)
    assert ops.delete(run_of(client, "inner").info.run_id) == 3
    assert names(client) == ["outer", "step"]
    assert ops.delete("the-outer-one") == 2
    assert names(client) == []
    assert ops.restore("the-outer-one") == 2
    assert names(client) == ["outer", "step"]
    assert names(client, ViewType.DELETED_ONLY) == ["by hand", "by hand", "inner", "step"]


def test_it_asks_first(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a yes nothing is deleted: not with a no, an empty line or no terminal; with one all is."""
    outer()
    for answer in ("n\n", "\n", ""):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        with pytest.raises(SystemExit) as ended:
            flowml("delete", "the-outer-one")
        assert ended.value.code == 1
        asked = "Delete 6 runs, the-outer-one and all below it? [y/N] Nothing was deleted.\n"
        assert capsys.readouterr().out.endswith(asked)
    assert len(names(client)) == 6
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    flowml("delete", "the-outer-one")
    assert names(client) == []


def test_what_cannot_be_meant(client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no flow's run, or several, exits with 2 and one line, and deletes nothing."""
    outer()
    outer()
    a_task = next(run.info.run_id for run in all_runs(client) if _name(run) == "step")
    said = {
        "0" * 32: "holds no run of a flow run '00000000000000000000000000000000'; name its id",
        "6f2f7f4e-2f5f-4f5e-8f5e-0123456789ab": "holds no run of a flow run",
        "it's none": "holds no run of a flow run",
        "the-outer-one": "2 runs are of a flow run 'the-outer-one'; name one by its id in MLflow: ",
        a_task: "is not a flow's; its outermost flow's is ",
        client.create_run("0").info.run_id: "is not a flow's.",
    }
    for named, expected in said.items():
        for command in ("delete", "restore"):
            with pytest.raises(SystemExit) as ended:
                flowml(command, named)
            assert ended.value.code == 2
            assert expected in capsys.readouterr().err
    assert len(names(client)) == 13


def test_twice_is_once(client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    """What is deleted already, or not deleted, is said to be so."""
    outer()
    with pytest.raises(SystemExit):
        flowml("restore", "the-outer-one")
    assert "No run that `flowml delete` deleted with the-outer-one" in capsys.readouterr().err
    flowml("delete", "the-outer-one", "--yes")
    with pytest.raises(SystemExit):
        flowml("delete", "the-outer-one", "--yes")
    assert "'the-outer-one' is deleted already; `flowml restore` brings it back." in capsys.readouterr().err


def test_a_deletion_that_was_broken_off_is_taken_back(client: MlflowClient) -> None:
    """What was deleted before the flow's own run was comes back as well."""
    outer()
    root = run_of(client, "outer").info.run_id
    ops.delete(root)
    client.restore_run(root)  # as if it had never come to the last one
    assert ops.restore("the-outer-one") == 5
    assert len(names(client)) == 6


def test_registered_versions_stay_and_are_named(client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    """A version in the registry that was made from a run is named before anything is deleted, and stays."""

    class Echo(PythonModel):  # type: ignore[misc]
        def predict(self, context: object, model_input: list[str]) -> list[str]:  # noqa: ARG002 - as MLflow calls it
            return model_input

    @flow(flow_run_name="made-a-model")
    def modelling() -> None:
        mlflow.pyfunc.log_model(
            name="echo", python_model=Echo(), registered_model_name="echo", pip_requirements=["mlflow"]
        )

    modelling()
    flowml("delete", "made-a-model", "--yes")
    assert "Registered models that were made from these runs stay: echo version 1.\n" in capsys.readouterr().out
    assert [version.version for version in client.search_model_versions("name = 'echo'")] == [1]
