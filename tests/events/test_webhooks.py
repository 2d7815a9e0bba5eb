"""MLflow's webhooks for real: its own server sends, ``flowml webhooks`` takes, Prefect's server is told."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import pytest
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression
from tests.ends.processes import child, until
from tests.events.conftest import Heard
from tests.events.test_signature import signed

from flowml import Model, flow, task
from flowml.stack import ports

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

SECRET = "a secret of some length"
KEY = "8eWq0Gv4bJkq0vQYw7ZfWmZ3m5y0rJv1m0N5v3m0b1A="  # Fernet's: of the server, for the secrets that it keeps


def free(first: int) -> int:
    """Find a port."""
    port = ports.keep_next("127.0.0.1", first) or pytest.fail("no free port")
    port.give_back()
    return port.number


def answers(url: str) -> bool:
    """Tell whether a server is up."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture
def server(project: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """An MLflow server that may send to this machine."""
    port = free(5300)
    told = {
        **environment,
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "https,http",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_CACHE_TTL": "1",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": KEY,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    store = f"sqlite:///{project}/.flowml/mlflow.db"
    command = ["-m", "mlflow", "server", "--workers", "1", "--port", str(port), "--backend-store-uri", store]
    command += ["--default-artifact-root", str(project / "artifacts")]
    url = f"http://127.0.0.1:{port}"
    with child(*command, log=project / "mlflow.log", environment=told):
        until(lambda: answers(url), "MLflow is up")
        yield url


@pytest.fixture
def receiver(server: str, project: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, Callable[[], str]]]:
    """``flowml webhooks --register`` in a process of its own: where it is, and what it says."""
    port = free(4280)
    told = {**environment, "FLOWML_TRACKING_URI": server, "FLOWML_WEBHOOK_SECRET": SECRET}
    url, log = f"http://127.0.0.1:{port}", project / "webhooks.log"
    with child("-m", "flowml.cli.app", "webhooks", "--register", "--port", str(port), log=log, environment=told):
        until(lambda: answers(url), "the receiver is up")
        yield url, log.read_text


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Send a message; return how it was answered."""
    asked = urllib.request.Request(url, body, {**headers, "Content-Type": "application/json"}, method="POST")
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


def test_a_promotion_by_hand_is_told(server: str, receiver: tuple[str, Callable[[], str]], heard: Heard) -> None:
    """By MLflow's own client, without flowml: the version and its alias are events; again, it is another event."""
    by_hand = MlflowClient(server)
    by_hand.create_registered_model("churn")
    version = by_hand.create_model_version("churn", "s3://nowhere/model").version
    by_hand.set_registered_model_alias("churn", "champion", version)
    (registered,), (promoted,) = heard("flowml.model.registered"), heard("flowml.model.promoted")
    assert registered.resource.id == promoted.resource.id == "flowml.model.churn"
    assert promoted.resource["flowml.alias"] == "champion"
    assert promoted.payload["model_uri"] == f"models:/churn/{version}"
    by_hand.set_registered_model_alias("churn", "champion", version)
    assert len({event.id for event in heard("flowml.model.promoted", 2)}) == 2


def test_what_flowml_promoted_is_told_once(
    server: str, receiver: tuple[str, Callable[[], str]], heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flowml tells of it and MLflow's webhook does; Prefect's server takes one of the two."""

    @task
    def fit() -> Annotated[LogisticRegression, Model(register="churn", alias="champion")]:
        return LogisticRegression().fit(np.arange(10).reshape(-1, 1), np.arange(10) % 2)

    @flow
    def training() -> None:
        fit()

    monkeypatch.setenv("FLOWML_TRACKING_URI", server)
    training()
    _, said = receiver
    until(lambda: said().count("Told: flowml.model.promoted models:/churn/1") == 1, "the webhook came in", 60)
    MlflowClient(server).set_registered_model_alias("churn", "challenger", "1")
    of_each = heard("flowml.model.promoted", 2)
    assert [event.resource["flowml.alias"] for event in of_each] == ["champion", "challenger"]
    assert len(heard("flowml.model.registered")) == 1


def test_a_forged_message_is_refused(receiver: tuple[str, Callable[[], str]], server: str, heard: Heard) -> None:
    """Unsigned, signed with another secret, old, or twice: refused, and nothing is told of it."""
    by_hand = MlflowClient(server)
    by_hand.create_registered_model("churn")
    by_hand.create_model_version("churn", "s3://nowhere/model")
    heard("flowml.model.registered")
    url, now = receiver[0], time.time()
    data = {"name": "churn", "version": "1", "alias": "forged"}
    body = json.dumps({"entity": "model_version_alias", "action": "created", "data": data}).encode()
    real = body.replace(b"forged", b"real")
    assert post(url, body, {}) == 401
    assert post(url, body, signed(body, secret="another secret of that", at=now)) == 401
    assert post(url, body, signed(body, secret=SECRET, at=now - 600)) == 401
    assert post(url, body, signed(real, secret=SECRET, at=now)) == 401
    assert post(url, b"x" * 1_000_001, signed(b"x", secret=SECRET, at=now)) == 413
    assert post(url, b"[]", signed(b"[]", secret=SECRET, at=now)) == 400
    assert post(url, real, signed(real, secret=SECRET, at=now, delivery="r1")) == 202
    assert post(url, real, signed(real, secret=SECRET, at=now, delivery="r1")) == 409
    (told,) = heard("flowml.model.promoted")
    assert told.resource["flowml.alias"] == "real"


def test_registering_again_leaves_one_webhook(
    server: str, receiver: tuple[str, Callable[[], str]], environment: Mapping[str, str], project: Path
) -> None:
    """A second ``--register`` brings the webhook up to date; what MLflow signs with is in no command line."""
    told = {**environment, "FLOWML_TRACKING_URI": server, "FLOWML_WEBHOOK_SECRET": SECRET}
    second, port = project / "second.log", free(4290)
    command = ["-m", "flowml.cli.app", "webhooks", "--register", "--port", str(port)]
    with child(*command, log=second, environment=told) as process:
        until(lambda: answers(f"http://127.0.0.1:{port}"), "the second is up")
        assert SECRET not in " ".join(psutil.Process(process.pid).cmdline())
    (webhook,) = MlflowClient(server).list_webhooks()
    assert webhook.url == f"http://127.0.0.1:{port}/"
    assert "was updated" in second.read_text()
    assert "was created" in receiver[1]()


def refused(command: list[str], project: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run the command to its end; return how it ended and what it said."""
    out = project / "refused.log"
    with child("-m", "flowml.cli.app", *command, log=out, environment=environment) as process:
        code = process.wait(60)
    return code, out.read_text()


def test_without_a_secret_or_servers_it_does_not_start(project: Path, environment: Mapping[str, str]) -> None:
    """Each is one line that says what to do, and exit code 2."""
    code, said = refused(["webhooks"], project, environment)
    assert (code, said.count("\n")) == (2, 1)
    assert "FLOWML_WEBHOOK_SECRET is to hold the secret" in said
    with_secret = {**environment, "MY_SECRET": SECRET}
    code, said = refused(["webhooks", "--secret-env", "MY_SECRET"], project, with_secret)
    assert (code, said.count("\n")) == (2, 1)
    assert "MLflow's webhooks are sent by its server" in said
    nowhere = {key: value for key, value in with_secret.items() if key != "PREFECT_API_URL"}
    for command in (["webhooks", "--secret-env", "MY_SECRET"], ["watch-files"]):
        code, said = refused(command, project, {**nowhere, "PREFECT_HOME": str(project / "prefect")})
        assert (code, said.count("\n")) == (2, 1)
        assert "There is no Prefect server" in said
