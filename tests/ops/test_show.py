"""``flowml show`` in the terminal."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient

from flowml import cli, flow, ops, task


@task
def evaluate(number: int) -> dict[str, float]:
    """Score."""
    return {"accuracy": number / 10}


@flow
def pipeline() -> float:
    """Score three times."""
    evaluate.map([7, 8, 9]).wait()
    return 0.9


def test_it_shows_each_run_with_its_metrics(client: MlflowClient, capsys: pytest.CaptureFixture[str]) -> None:
    """The table has a row for the flow and each task, and the commands for both UIs."""
    pipeline()
    pipeline()
    ops.show("pipeline")
    shown = capsys.readouterr().out
    assert shown.count("accuracy=0.8") == 1
    assert shown.count("FINISHED") == 4
    assert "pipeline=0.9" in shown
    assert f"mlflow ui --backend-store-uri {client.tracking_uri}" in shown
    assert "prefect server start" in shown


@pytest.mark.usefixtures("client")
def test_a_flow_without_runs_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The command exits with 2 and says which flow it looked for, and where."""
    with pytest.raises(SystemExit) as ended:
        cli.app(["show", "nothing"], result_action="return_value")
    assert ended.value.code == 2
    assert "holds no run of a flow named 'nothing'" in capsys.readouterr().err
