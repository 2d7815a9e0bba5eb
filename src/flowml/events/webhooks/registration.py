"""flowml's webhook in MLflow's registry: there once, whoever asks how often."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flowml.errors import TrackingError
from flowml.events.webhooks.receiver import EVENTS
from flowml.secrets import mask
from flowml.store.backend.failures import explain
from flowml.store.backend.paging import paged

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "flowml"
_REMEDY = (
    "MLflow sends webhooks to https addresses of public hosts only. For others start its server with "
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES=https,http and MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true."
)


def register(client: MlflowClient, url: str, secret: str) -> str:
    """Let MLflow send to an address, signed with a secret; what is there already is brought up to date.

    Args:
        client: A client of MLflow's server.
        url: Where the receiver is reached from that server.
        secret: What MLflow is to sign with.

    Returns:
        What was done: "created" or "updated".

    Raises:
        TrackingError: If MLflow cannot be reached or refuses the address.
    """
    from mlflow.exceptions import MlflowException

    fields: dict[str, Any] = {"url": url, "events": list(EVENTS), "secret": secret}
    try:
        there = _there(client)
        if there is None:
            client.create_webhook(NAME, description="Tells flowml of new versions and aliases.", **fields)
            return "created"
        client.update_webhook(there, status="ACTIVE", **fields)
    except MlflowException as error:
        shown = mask(client.tracking_uri)
        if error.error_code == "INVALID_PARAMETER_VALUE":
            msg = f"MLflow at {shown} refuses the webhook to {url}: {error.message.rstrip('.')}."
            raise TrackingError(msg, uri=shown, remedy=_REMEDY) from None
        raise explain(client.tracking_uri, error) from None
    return "updated"


def _there(client: MlflowClient) -> str | None:
    every = paged(partial(client.list_webhooks, max_results=100))
    return next((str(webhook.webhook_id) for webhook in every if webhook.name == NAME), None)
