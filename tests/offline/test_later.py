"""What changes offline after a sync, or is of a kind that is easily missed, follows with the next one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.tracing.attachments import Attachment
from tests.offline.small import EXPERIMENT
from tests.ops.conftest import Said

from flowml.store.backend import offline

Flowml = Callable[..., Said]


def named(client: MlflowClient, name: str) -> Run:
    """Return the run of a name."""
    ids = [one.experiment_id for one in client.search_experiments()]
    (found,) = [run for run in client.search_runs(ids) if run.info.run_name == name]
    return found


def synced(flowml: Flowml, to: MlflowClient, *more: str) -> str:
    """Copy to a store; return what was said."""
    said = flowml("sync", "--to", to.tracking_uri, *more)
    assert said.code == 0, said.err
    return said.out


def test_a_large_file_that_keeps_its_size(
    source: MlflowClient, to: MlflowClient, flowml: Flowml, tmp_path: Path
) -> None:
    """A checkpoint that was written anew is sent again, and is there when the offline one is removed."""
    run_id, checkpoint = named(source, "second").info.run_id, tmp_path / "last.ckpt"
    for letter in (b"a", b"b"):
        checkpoint.write_bytes(letter * 1_500_000)
        source.log_artifact(run_id, str(checkpoint))
        synced(flowml, to)
    assert "artifacts" not in synced(flowml, to, "--prune")
    got = to.download_artifacts(named(to, "second").info.run_id, "last.ckpt", str(tmp_path))
    assert Path(got).read_bytes() == b"b" * 1_500_000


def test_a_point_of_an_earlier_step(source: MlflowClient, team: MlflowClient, flowml: Flowml) -> None:
    """A point that is not the last one of its metric is copied, though the run was copied before."""
    synced(flowml, team)
    source.log_metric(named(source, "second").info.run_id, "loss", 0.75, timestamp=1_999, step=-1)
    assert "1 metric points" in synced(flowml, team)
    steps = [each.step for each in team.get_metric_history(named(team, "second").info.run_id, "loss")]
    assert sorted(steps) == [-1, 0, 1, 2, 3]


def test_what_people_say_of_a_version_and_an_experiment(
    source: MlflowClient,
    team: MlflowClient,
    flowml: Flowml,
) -> None:
    """A description that is written later is copied, and a tag; what the experiment is tagged with there stays."""
    synced(flowml, team)
    (experiment,) = [one for one in source.search_experiments() if one.name == EXPERIMENT]
    (there,) = [one for one in team.search_experiments() if one.name == EXPERIMENT]
    source.update_model_version("churn", "1", "Checked by hand.")
    source.set_experiment_tag(experiment.experiment_id, "reviewed", "by me")
    source.set_experiment_tag(experiment.experiment_id, "owner", "me")
    team.set_experiment_tag(there.experiment_id, "owner", "the team")
    synced(flowml, team)
    assert team.get_model_version("churn", "1").description == "Checked by hand."
    tags = team.get_experiment(there.experiment_id).tags
    assert (tags["reviewed"], tags["owner"]) == ("by me", "the team")


def test_a_name_with_both_quotes(source: MlflowClient, to: MlflowClient, flowml: Flowml) -> None:
    """A registered model may be called so; it holds up nothing."""
    name, run = "o'b\"x", named(source, "second")
    source.create_registered_model(name)
    source.create_model_version(name, f"{run.info.artifact_uri}/folder", run.info.run_id)
    synced(flowml, to)
    assert named(to, "second").info.status == "FINISHED"
    assert [one.name for one in to.search_registered_models() if one.latest_versions] == ["churn", name]


def test_attachments_of_spans(small: Path, to: MlflowClient, flowml: Flowml) -> None:
    """An image in a span's inputs is where the trace is, also when the offline one is removed."""
    mlflow.set_tracking_uri(offline.uri())
    mlflow.tracing.reset()
    try:
        mlflow.set_experiment(EXPERIMENT)
        with mlflow.start_span("seen") as span:
            span.set_inputs({"image": Attachment(content_type="image/png", content_bytes=b"a picture")})
        mlflow.flush_trace_async_logging()
    finally:
        mlflow.set_tracking_uri(None)
    synced(flowml, to, "--prune")
    (experiment,) = [one for one in to.search_experiments() if one.name == EXPERIMENT]
    traces = to.search_traces(locations=[experiment.experiment_id])
    (trace,) = [one for one in traces if [span.name for span in one.data.spans] == ["seen"]]
    folder = f"{trace.info.tags['mlflow.artifactLocation']}/attachments"
    (file,) = mlflow.artifacts.list_artifacts(folder, tracking_uri=to.tracking_uri)
    name = file.path.rpartition("/")[2]
    got = mlflow.artifacts.download_artifacts(f"{folder}/{name}", tracking_uri=to.tracking_uri)
    assert Path(got).read_bytes() == b"a picture"


@pytest.mark.parametrize("says_to", [True, False])
def test_a_process_that_an_offline_flow_starts(
    small: Path,
    source: MlflowClient,
    team: MlflowClient,
    *,
    says_to: bool,
) -> None:
    """A notebook's ``!flowml sync`` goes where the runs are meant to be, its registered versions too."""
    (experiment,) = [one for one in source.search_experiments() if one.name == EXPERIMENT]
    source.set_experiment_tag(experiment.experiment_id, offline.MEANT, team.tracking_uri)
    environment = {"MLFLOW_TRACKING_URI": offline.uri(), "MLFLOW_REGISTRY_URI": offline.uri(), "FLOWML_OFFLINE": "true"}
    command = [sys.executable, "-m", "flowml", "sync", *(["--to", team.tracking_uri] if says_to else [])]
    ended = subprocess.run(
        command, env={**os.environ, **environment}, cwd=small, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [one.version for one in team.search_model_versions("name = 'churn'")] == [1]
    assert [one.version for one in source.search_model_versions("name = 'churn'")] == [1]


def test_a_memory_that_cannot_be_read(small: Path, team: MlflowClient, flowml: Flowml) -> None:
    """The file is named, and nothing is taken for a fault of the store's."""
    memory = small / ".flowml" / "offline-copied.json"
    memory.write_text("{not JSON")
    said = flowml("sync", "--to", team.tracking_uri)
    assert said.code == 2
    assert f"{memory}, which has the copies of what was removed here, cannot be read" in said.err
