"""The receiver of MLflow's webhooks as a program."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from flowml import settings
from flowml.errors import SettingsError, TrackingError
from flowml.ops.output import say
from flowml.ops.prefect_api import address
from flowml.secrets import mask
from flowml.secrets.uris import without_credentials
from flowml.stack import servers
from flowml.store.backend.connection import connect, ui_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SHORTEST = 16  # characters of a secret


def run(host: str, port: int, *, secret_env: str, register: bool, url: str | None) -> None:
    """Take MLflow's webhooks until Ctrl-C.

    Args:
        host: The address to listen on.
        port: The port to listen on.
        secret_env: The environment variable that holds the secret.
        register: Whether to make the webhook in MLflow first.
        url: Where MLflow reaches this receiver. Default: where it listens.

    Raises:
        SettingsError: If there is no secret.
        OrchestrationError: If Prefect has no server.
        TrackingError: If MLflow has no server, or refuses the webhook.
    """
    import uvicorn

    from flowml.events.webhooks import registration
    from flowml.events.webhooks.receiver import application

    secret = _secret(secret_env)
    api = without_credentials(address("There is no Prefect server to tell of MLflow's webhooks"))
    client = _server_client()
    here = url or f"{servers.address(host, port)}/"
    if register:
        done = registration.register(client, here, secret)
        say(f"The webhook {registration.NAME!r} of MLflow at {mask(client.tracking_uri)} to {here} was {done}.")
    logger = logging.getLogger("flowml.webhooks")
    logger.addHandler(logging.StreamHandler(sys.stdout))
    logger.setLevel(logging.INFO)
    say(f"Taking MLflow's webhooks at {here} for Prefect at {api}, until Ctrl-C.")
    uvicorn.run(application(secret, client), host=host, port=port, log_level="warning", access_log=False)


def _secret(name: str) -> str:
    secret = settings.from_environment(name)
    if len(secret) < _SHORTEST:
        what = f"holds {len(secret)} characters" if secret else "is not set"
        remedy = 'Make one: python -c "import secrets; print(secrets.token_urlsafe(32))"'
        msg = f"The environment variable {name} is to hold the secret that MLflow signs with, and {what}."
        msg = f"{msg} It takes {_SHORTEST} or more. {remedy}"
        raise SettingsError(msg, setting=name, value=None)
    return secret


def _server_client() -> MlflowClient:
    """Return a client of MLflow's server: it alone sends webhooks, and reads their secrets."""
    from mlflow import MlflowClient

    connection = connect()
    uri = connection.uri if connection.uri.startswith("http") else ui_of(connection.uri)
    if uri is None:
        shown = mask(connection.uri)
        msg = f"MLflow's webhooks are sent by its server, and {shown} is none."
        remedy = "Start one with `flowml up`, or set FLOWML_TRACKING_URI to that in use."
        raise TrackingError(msg, uri=shown, remedy=remedy)
    return MlflowClient(tracking_uri=uri, registry_uri=connection.registry_uri)
