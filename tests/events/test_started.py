"""What starts on events, for real: a breach starts training, a promotion starts scoring, each served elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pandas as pd
import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from sklearn.datasets import load_breast_cancer
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from tests.ends.processes import child, until
from tests.runs import run_of, runs_of

from flowml import Model, flow, task

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]

FLOWS = Path(__file__).parents[2] / "flows"
FILES = [str(FLOWS / "nightly.py"), str(FLOWS / "score.py")]
DEPLOYMENTS = ("nightly/every-night", "scoring/on-champion")


def flow_runs(deployment: str) -> list[FlowRun]:
    """Return the runs of a deployment."""
    name = DeploymentFilter(name=DeploymentFilterName(any_=[deployment.partition("/")[2]]))
    with get_client(sync_client=True) as prefect:
        found = prefect.read_flow_runs(deployment_filter=name)
        wanted = prefect.read_deployment_by_name(deployment).id
    return [run for run in found if run.deployment_id == wanted]


def is_served() -> bool:
    """Tell whether both deployments are there, with their automations."""
    with get_client(sync_client=True) as prefect:
        try:
            names = [prefect.read_deployment_by_name(one).id for one in DEPLOYMENTS]
        except ObjectNotFound:
            return False
        return all(prefect.read_resource_related_automations(f"prefect.deployment.{one}") for one in names)


@task
def guess() -> Annotated[Pipeline, Model(register="classifier", alias="champion")]:
    """Make a champion that is bad."""
    frame = load_breast_cancer(as_frame=True).frame
    return make_pipeline(DummyClassifier(strategy="prior")).fit(frame.drop(columns="target"), frame["target"])


@flow
def guessing() -> None:
    """Have a champion, before anything waits for one."""
    guess()


def test_a_breach_starts_training_and_its_promotion_starts_scoring(
    client: MlflowClient, project: Path, environment: Mapping[str, str]
) -> None:
    """``flows/monitoring.py`` finds the champion bad: a model is trained, promoted, and scores, each once."""
    guessing()
    served = {**environment, "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    with child("-m", "flowml.cli.app", "serve", *FILES, log=project / "served.log", environment=served, folder=project):
        until(is_served, "both are served")
        looked = project / "monitoring.log"
        with child(str(FLOWS / "monitoring.py"), log=looked, environment=environment, folder=project) as process:
            assert process.wait(100) == 0, looked.read_text()
        until(lambda: ended(client, "nightly"), "the training has ended", 150)
        until(lambda: ended(client, "scoring"), "the scoring has ended", 100)
        assert [len(flow_runs(one)) for one in DEPLOYMENTS] == [1, 1]
    trained, scored = run_of(client, "nightly"), run_of(client, "scoring")
    assert (trained.info.status, scored.info.status) == ("FINISHED", "FINISHED")
    assert trained.data.metrics["challenger"] > 0.98
    assert scored.data.metrics["rows"] == 569
    champion = client.get_model_version_by_alias("classifier", "champion")
    assert run_of(client, "register").info.run_id == champion.run_id
    predictions = pd.read_csv(project / "predictions.csv")
    assert len(predictions) == 569
    assert set(predictions["prediction"]) == {0, 1}


def ended(client: MlflowClient, name: str) -> bool:
    """Tell whether a flow's run is closed."""
    return any(run.info.status != "RUNNING" for run in runs_of(client, name))
