"""A small store with a little of everything."""

from __future__ import annotations

from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelInput, LoggedModelOutput, Metric
from tests.ends.processes import until

EXPERIMENT = "small"


def fill(uri: str, folder: Path) -> None:
    """Track a little of everything, in a moment."""
    client = MlflowClient(uri)
    experiment = client.create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").as_uri())
    root = client.create_run(experiment, 1_000, {"mlflow.user": "ada", "flowml.kind": "flow"}, "root").info.run_id
    below = {"mlflow.parentRunId": root, "flowml.root_run_id": root}
    first = client.create_run(experiment, 1_100, {**below, "flowml.attempt": "1"}, "first").info.run_id
    second = client.create_run(experiment, 1_200, {**below, "flowml.previous_run_id": first}, "second").info.run_id
    client.set_tag(first, "flowml.next_run_id", second)
    note = f"[second](#/experiments/{experiment}/runs/{second}) made [v1](#/models/churn/versions/1)"
    client.set_tag(root, "mlflow.note.content", note)
    client.set_tag(root, "flowml.registered_models", '[["churn", "1", "champion"]]')
    client.set_tag(root, f"flowml.child.{second}", experiment)
    for step, value in enumerate((0.5, float("nan"), float("inf"), 0.1)):
        client.log_metric(second, "loss", value, timestamp=2_000 + step, step=step)
    client.log_batch(root, [Metric("long", number / 7, 3_000 + number, number) for number in range(1_050)])
    client.log_param(first, "alpha", "0.1")
    table = Dataset("table", "abc", "local", f'{{"uri": "runs:/{first}/data"}}', "{}", "{}")
    tags = [InputTag("mlflow.data.context", "input"), InputTag("flowml.run_id", first)]
    client.log_inputs(second, [DatasetInput(table, tags)])
    for run_id in (first, second):
        client.log_text(run_id, f"of {run_id == first}", "folder/deep/text.txt")
        client.log_text(run_id, "at the top", "top.txt")
    _add_model(client, experiment, second, folder)
    _add_prompt(client, root)
    _add_trace(uri, experiment, first)
    for place, (run_id, status) in enumerate({first: "FAILED", second: "FINISHED", root: "FINISHED"}.items()):
        client.set_terminated(run_id, status, 5_000 + place)


def _add_model(client: MlflowClient, experiment: str, run_id: str, folder: Path) -> None:
    model = client.create_logged_model(experiment, "clf", run_id, {"kind": "linear"}, {"C": "1.0"}, "classifier")
    files = folder / "model"
    (files / "code").mkdir(parents=True)
    about = f"artifact_path: {model.artifact_location}\nmodel_id: {model.model_id}\nrun_id: {run_id}\n"
    (files / "MLmodel").write_text(about)
    (files / "code" / "weights.bin").write_bytes(bytes(range(256)))
    client.log_model_artifacts(model.model_id, str(files))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_batch(run_id, [Metric("auc", 0.75, 2_500, 0, model_id=model.model_id)])
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    client.log_inputs(run_id, None, [LoggedModelInput(model.model_id)])
    client.create_registered_model("churn", {"team": "a"}, "Who leaves.")
    client.create_model_version(
        "churn",
        model.artifact_location,
        run_id,
        {"flowml.run_id": run_id},
        description="The first.",
        model_id=model.model_id,
    )
    client.set_registered_model_alias("churn", "champion", "1")
    client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": '[{"name": "churn", "version": 1}]'})


def _add_prompt(client: MlflowClient, run_id: str) -> None:
    client.register_prompt("hello", "Hello {{name}}", "The first.", {"tone": "warm"})
    client.register_prompt("hello", [{"role": "user", "content": "{{question}}"}])
    client.set_prompt_alias("hello", "best", 1)
    client.set_tag(run_id, "mlflow.linkedPrompts", '[{"name": "hello", "version": "1"}]')


def _add_trace(uri: str, experiment: str, run_id: str) -> None:
    mlflow.set_tracking_uri(uri)
    mlflow.tracing.reset()  # the exporter of an earlier test may still try to reach a server that is gone
    try:
        with mlflow.start_run(run_id=run_id), mlflow.start_span("outer") as outer:
            outer.set_inputs({"number": 2})
            with mlflow.start_span("inner") as inner:
                inner.set_outputs(4)
        mlflow.flush_trace_async_logging()
        until(lambda: mlflow.get_trace(outer.trace_id, silent=True), "the trace is there", 60)
    finally:
        mlflow.set_tracking_uri(None)
