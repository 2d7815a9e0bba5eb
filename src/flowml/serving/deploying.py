"""A registered model is served as part of a flow: the server is found or started, and tried out."""

from __future__ import annotations

import re
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock
from prefect.cache_policies import NO_CACHE

from flowml import records, settings
from flowml.capture.reading import connection_here
from flowml.capture.session import current
from flowml.decorators import task
from flowml.errors import ServingError
from flowml.options import Track
from flowml.serving.files import Files
from flowml.stack import logs, processes, served
from flowml.stack.served import Serving
from flowml.stack.state import Server
from flowml.store import flush_all
from flowml.store.registered import ModelRef, Reference, find, parse

if TYPE_CHECKING:
    import httpx

    from flowml.store.backend.connection import Connection

_PATIENCE = 1800.0  # seconds that another flow may take to start the same server: its packages may have to be installed
_ASK = 60.0  # seconds that an answer may take
_OF_A_RUN = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_", "FLOWML_OFFLINE", "PREFECT__")
_WHERE = re.compile(r"is going to answer at (http://\S+)/invocations")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A registered model that answers requests.

    Attributes:
        url: Where: requests go to ``/invocations`` below it.
        model: The registered model's name.
        version: The version that answered when it was tried out.
    """

    url: str
    model: str
    version: str


@task(name="deploy-model", track=Track(outputs=False), cache_policy=NO_CACHE)
def deploy_model(reference: Reference, *, port: int = 5001, timeout: float = 300.0, sample: int = 100) -> ServedModel:
    """Serve a registered model on this machine, and try it out with the model's own example.

    A server that serves the same already is found, not started again; it follows the alias by itself. It goes on when
    the flow has ended: `flowml status` shows it, `flowml down` ends it.

    Args:
        reference: What is served: ``"churn@champion"``, or a version, ``"churn/7"``.
        port: The first port to try.
        timeout: Seconds until the version that the reference names now has to answer.
        sample: Every how many requests one is kept, for `served_requests`; 1 keeps each, 0 none. A server that is
            found goes on as it was started.

    Returns:
        Where it answers.

    Raises:
        NoSuchVersionError: If there is no such model, version or alias.
        ServingError: If it does not answer in time, or not as it should.

    Example:
        >>> served = flowml.deploy_model("churn@champion")
        >>> requests.post(f"{served.url}/invocations", json={"inputs": rows}).json()
        {'predictions': [0, 1]}
    """
    flush_all()  # a version that this flow has registered is to be there
    connection, ref = connection_here(), parse(reference)
    version = str(find(connection.client, ref).version)
    server = find_or_start(connection, ref, port=port, sample=sample)
    until = time.monotonic() + timeout
    answer = _asked(connection, ref, server, until)
    while (answered := answer.headers["x-model-version"]) != version and time.monotonic() < until:
        time.sleep(0.2)
        version = str(find(connection.client, ref).version)  # it may be moved meanwhile
        answer = _asked(connection, ref, server, until)
    if answered != version:
        msg = f"{ref} is version {version}, and {server.url} answers by version {answered} after {timeout:g} s. "
        msg += f"The end of {server.log}:\n{logs.last_lines(server)}"
        raise ServingError(msg)
    if session := current():
        told = {"flowml.served_at": server.url, "flowml.model_version": f"{ref.model}/{answered}"}
        session.put([records.Tag(key, value) for key, value in told.items()])
    return ServedModel(server.url, ref.model, answered)


def find_or_start(connection: Connection, ref: ModelRef, *, port: int = 5001, sample: int = 100) -> Server:
    """Return the server of this project that serves something, which is started if there is none.

    Args:
        connection: The store that it is in.
        ref: What is served.
        port: The first port to try.
        sample: Every how many requests one is kept.

    Raises:
        ServingError: If it does not start.
    """
    home = settings.home_folder()
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / "served.lock", timeout=_PATIENCE):
        known = next((each.server for each in served.read() if each.server.name == str(ref)), None)
        return known or _start(connection, ref, port, sample)


def _start(connection: Connection, ref: ModelRef, port: int, sample: int) -> Server:
    folder = settings.home_folder() / "logs"
    folder.mkdir(exist_ok=True)
    log = folder / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', f'serve-{ref}')}.log"
    environment = {**processes.environment_without(*_OF_A_RUN), "FLOWML_TRACKING_URI": connection.uri}
    if connection.registry_uri:
        environment["FLOWML_REGISTRY_URI"] = connection.registry_uri
    command = [sys.executable, "-m", "flowml", "serve-model", str(ref), "--port", str(port)]
    command += ["--sample", str(sample)]
    mark = uuid.uuid4().hex
    child = processes.start(command, environment=environment, folder=settings.project_folder(), log=log, mark=mark)
    until = time.monotonic() + _PATIENCE
    while True:
        found = _WHERE.search(log.read_text("utf-8", "replace"))
        server = Server(str(ref), found[1] if found else "", processes.of(child.pid), str(log))
        if found and _answers(server.url):
            served.add(Serving(server, mark))
            return server
        if child.poll() is not None or time.monotonic() > until:
            processes.stop([server.process], mark)
            msg = f"{ref} is not served: its server did not start. The end of {log}:\n{logs.last_lines(server)}"
            raise ServingError(msg)
        time.sleep(0.2)


def _answers(url: str) -> bool:
    import httpx

    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/ping", timeout=5, trust_env=False).status_code == httpx.codes.OK
    return False


def _asked(connection: Connection, ref: ModelRef, server: Server, until: float) -> httpx.Response:
    """Ask it what the model's own example asks; a model without one, with what is no request.

    Raises:
        ServingError: If it does not answer as it should.
    """
    import httpx
    from mlflow.models import Model

    folder = str(Files(connection, ref).fetch(find(connection.client, ref)).folder)
    example = Model.load(folder).get_serving_input(folder)
    longest = min(_ASK, max(1.0, until - time.monotonic()))
    headers = {"content-type": "application/json"}
    try:
        answer = httpx.post(
            f"{server.url}/invocations", content=example or "{}", headers=headers, timeout=longest, trust_env=False
        )
    except httpx.TransportError as error:
        msg = f"{ref} at {server.url} does not answer: {type(error).__name__}: {error}."
        raise ServingError(msg) from None
    expected = httpx.codes.OK if example else httpx.codes.BAD_REQUEST
    if answer.status_code != expected:
        said = " ".join(answer.text.split())[:400]
        msg = f"{ref} at {server.url} does not answer its own input example: {answer.status_code} {said}"
        raise ServingError(msg)
    return answer
