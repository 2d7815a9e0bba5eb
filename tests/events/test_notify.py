"""People are told: what a deployment's runs come to arrives at a webhook, with both pages."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import Crashed
from sklearn.linear_model import LinearRegression
from tests.ends.processes import until

import flowml
from flowml import AtLeast, Deployment, DeploymentError, Model, Notify, OnMetric, flow, task
from flowml.deploy.applying import apply
from flowml.deploy.export import export

pytestmark = pytest.mark.e2e

ROWS = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "y": [0.0, 2.0, 4.0, 6.0]})
Told = Callable[[str], dict[str, str]]


@pytest.fixture
def told(client: MlflowClient) -> Iterator[Told]:
    """A block of Prefect's that sends to a server here; wait for a message whose subject begins so."""
    came: list[dict[str, str]] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    CustomWebhookNotificationBlock(
        name="team",
        url=f"http://127.0.0.1:{server.server_port}",
        json_data={"subject": "{{subject}}", "body": "{{body}}"},
    ).save("team", overwrite=True)

    def arrived(subject: str) -> dict[str, str]:
        def found() -> dict[str, str] | None:
            return next((one for one in came if one["subject"].startswith(subject)), None)

        until(found, f"a message {subject!r}: {came}", 60)
        message = found()
        assert message
        return message

    yield arrived
    server.shutdown()
    server.server_close()


@task
def fit() -> Annotated[LinearRegression, Model(register="notified", alias="champion")]:
    """Make a champion."""
    return LinearRegression().fit(ROWS[["x"]], ROWS["y"])


def lowest(_: Any, predicted: Any) -> float:
    """Be a metric that the model misses."""
    return float(min(predicted))


@flow(name="notifying")
def notifying(*, fails: bool = False, asks: bool = False) -> dict[str, float]:
    """Fail, or do all that somebody may be told of."""
    if fails:
        raise RuntimeError("the table has no rows")
    model = fit()
    flowml.gate(model, ROWS, "y", rules=[AtLeast("lowest", 5)], metrics={"lowest": lowest})
    flowml.measure_drift(pd.DataFrame({"x": np.arange(100.0)}), pd.DataFrame({"x": np.arange(100.0) + 500}))
    if asks:
        flowml.approve("notified", 1)
    return {"accuracy": 0.875}


def run(*, notify: Notify, **parameters: Any) -> None:
    """Deploy the flow and run it once, as a worker does."""
    deployment_id = apply(Deployment(notifying, "nightly", notify=[notify]).to_prefect())
    with get_client(sync_client=True) as prefect:
        created = prefect.create_flow_run_from_deployment(deployment_id, parameters=parameters)  # type: ignore[arg-type]
        created = prefect.read_flow_run(created.id)
    with suppress(Pause):
        run_flow(notifying, flow_run=created, return_type="state")


def test_who_is_told_of_a_failure_reads_why(told: Told) -> None:
    """The message says which run, in which state, and why, and leads to its page."""
    run(notify=Notify("custom-webhook/team"), fails=True)
    message = told("notifying/nightly: failed")
    assert "is Failed: Flow run encountered an exception: RuntimeError: the table has no rows" in message["body"]
    assert "/runs/flow-run/" in message["body"]


def test_a_killed_run_is_a_failure(told: Told) -> None:
    """A run whose process is gone tells nothing itself; Prefect says that it crashed, and so does the message."""
    deployment_id = apply(Deployment(notifying, "crashing", notify=[Notify("custom-webhook/team")]).to_prefect())
    with get_client(sync_client=True) as prefect:
        created = prefect.create_flow_run_from_deployment(deployment_id)  # type: ignore[arg-type]
        prefect.set_flow_run_state(created.id, Crashed(message="exited with code -9"), force=True)
    assert f"{created.name} is Crashed: exited with code -9" in told("notifying/crashing: failed")["body"]


@pytest.mark.timeout(300)
def test_all_that_can_be_told_of_is_told(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end with its metrics, a gate's refusal, a question, a promotion, a drift, a metric: each with both pages."""
    monkeypatch.setenv("FLOWML_MLFLOW_UI_URL", "http://mlflow.test")
    words = ["failed", "finished", "gate_refused", "awaiting_approval", "promoted", "drifted"]
    told_of = Notify("custom-webhook/team", on=[*words, OnMetric("accuracy", above=0.8)])
    run(notify=told_of)
    run(notify=told_of, asks=True)
    said = {
        "notifying/nightly: finished": "accuracy: 0.875",
        "notifying/nightly: the gate refused a candidate": 'AtLeast("lowest", 5): 0 is not at least 5',
        "notifying/nightly: a version waits for approval": "May version 1 of notified be released?",
        "notifying/nightly: a version was promoted": "models:/notified@champion is version 1 now.",
        "notifying/nightly: data has drifted": "x has drifted by",
        "accuracy is above 0.8": "metric: accuracy\nvalue: 0.875",
    }
    for subject, text in said.items():
        body = told(subject)["body"]
        assert text in body
        assert "\n\nPrefect: http" in body
        assert "/runs/flow-run/" in body
        assert "\nMLflow: http://mlflow.test/#/experiments/" in body


def test_applied_again_it_tells_once(told: Told) -> None:
    """Applying a deployment anew replaces its automations, and takes away those that are no longer declared."""

    def automations(*notify: Notify) -> list[str]:
        deployment_id = apply(Deployment(notifying, "nightly", notify=notify).to_prefect())
        with get_client(sync_client=True) as prefect:
            made = prefect.read_resource_related_automations(f"prefect.deployment.{deployment_id}")
        return sorted(one.name for one in made)

    both = Notify("custom-webhook/team", on=["failed", "promoted"])
    wanted = [
        "notifying/nightly tells custom-webhook/team: a version was promoted",
        "notifying/nightly tells custom-webhook/team: failed",
    ]
    assert automations(both) == wanted
    assert automations(both) == wanted
    assert automations() == []


REFUSED = [
    (lambda: Notify("team"), ValueError, r"Notify\('team'\) names no block: write its type and its name"),
    (lambda: Notify(3), TypeError, r"Notify\(block=...\) takes a text, not 3"),
    (lambda: Notify("a/b", on="failed"), TypeError, r"takes a list, such as \['failed'\], not 'failed'"),
    (lambda: Notify("a/b", on=[]), ValueError, "tells of nothing. It can tell of failed, finished, gate_refused"),
    (lambda: Notify("a/b", on=["promotd"]), ValueError, r"Did you mean 'promoted'\? It tells of failed"),
    (lambda: Notify("a/b", on=[OnMetric]), TypeError, "or flowml's triggers, not <class"),
    (lambda: Deployment(notifying, "n", notify=Notify("a/b")), DeploymentError, "it is a list of Notify"),
]


@pytest.mark.parametrize("make,kind,message", REFUSED)
def test_what_cannot_be_is_refused(make: Any, kind: type[Exception], message: str) -> None:
    """What could never tell anybody says what is wrong with it and what is allowed."""
    with pytest.raises(kind, match=message):
        make()


def test_a_block_that_is_not_there_is_named_before_anything_is_made(told: Told) -> None:
    """A misspelt block, or one that sends nothing, is said with those that there are; the deployment is not made."""
    Secret(value="x").save("no-message", overwrite=True)  # type: ignore[call-arg]
    with pytest.raises(DeploymentError, match="did you mean 'custom-webhook/team'"):
        Deployment(notifying, "never", notify=[Notify("custom-webhook/taem")]).to_prefect()
    with pytest.raises(DeploymentError, match="secret/no-message is no notification block"):
        Deployment(notifying, "never", notify=[Notify("secret/no-message")]).to_prefect()


def test_a_prefect_yaml_cannot_say_it(told: Told) -> None:
    """Who exports it is told so: the file could only start the deployment."""
    with pytest.raises(DeploymentError, match=r"which a prefect\.yaml cannot say"):
        export([Deployment(notifying, "nightly", work_pool="pool", notify=[Notify("custom-webhook/team")])])
