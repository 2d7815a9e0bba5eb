"""Takes the webhooks of MLflow's model registry and tells Prefect of what they say."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from flowml.events import vocabulary
from flowml.events.emitting import deliver
from flowml.events.reporting import related_to
from flowml.events.vocabulary import Event
from flowml.events.webhooks.signature import Guard, RefusedError
from flowml.secrets.uris import without_credentials
from flowml.store.ledger.heard import hear, maker_of
from flowml.store.ledger.moving import is_previous

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

EVENTS = ("model_version.created", "model_version_alias.created", "model_version_alias.deleted")
"""What MLflow is asked to send."""

_LARGEST = 1_000_000  # bytes of a message
_logger = logging.getLogger("flowml.webhooks")


def application(secret: str, client: MlflowClient) -> Starlette:
    """Make the server: MLflow sends to its root, and ``GET /health`` says that it runs.

    Args:
        secret: What MLflow signs with.
        client: A client of the MLflow that sends, to ask more of what it tells.
    """
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    guard = Guard(secret)

    async def receive(request: Request) -> Response:
        try:
            body = await _body(request)
            delivery = guard.check(request.headers, body)
        except RefusedError as refused:
            return _refused(refused)
        except ClientDisconnect as gone:
            return _later("MLflow", gone)
        guard.take(delivery)  # before anything is waited for: a second copy may come in meanwhile
        is_done = False
        try:
            answer = await _tell(body, delivery, client)
            is_done = answer.status_code < HTTPStatus.BAD_REQUEST
        finally:
            if not is_done:
                guard.release(delivery)
        return answer

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(routes=[Route("/", receive, methods=["POST"]), Route("/health", health)])


async def _tell(body: bytes, delivery: str, client: MlflowClient) -> Response:
    """Tell Prefect of what a message says."""
    from starlette.responses import PlainTextResponse

    try:
        event = await asyncio.to_thread(_read, body, delivery, client)
    except RefusedError as refused:
        return _refused(refused)
    except Exception as error:  # noqa: BLE001 - MLflow cannot be asked; it sends again after a 503
        return _later("MLflow", error)
    if event is None:
        return PlainTextResponse("nothing to tell\n")
    try:
        await deliver(event)
    except Exception as error:  # noqa: BLE001 - of Prefect's client
        return _later("Prefect", error)
    _logger.info("Told: %s %s", event.name, event.payload["model_uri"])
    return PlainTextResponse("told\n", 202)


def _refused(refused: RefusedError) -> Response:
    from starlette.responses import PlainTextResponse

    _logger.warning("Refused: %s.", refused)
    return PlainTextResponse(f"{refused}\n", refused.status)


def _later(who: str, error: Exception) -> Response:
    from starlette.responses import PlainTextResponse

    _logger.warning("%s did not answer, MLflow is to send again: %s: %s", who, type(error).__name__, error)
    return PlainTextResponse(f"{who} did not answer\n", 503)


async def _body(request: Request) -> bytes:
    """Read the message, as much of it as one may have."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST:
            msg = f"larger than {_LARGEST} bytes"
            raise RefusedError(msg, 413)
    return body


def _read(body: bytes, delivery: str, client: MlflowClient) -> Event | None:
    """Make an event of a message; None of one that says nothing for Prefect."""
    try:
        message = json.loads(body)
        sort, data = f"{message['entity']}.{message['action']}", message["data"]
        facts = {"name": str(data["name"]), "version": str(data.get("version") or "")} if sort in EVENTS else {}
        alias = str(data["alias"]) if sort in EVENTS[1:] else ""
        if sort in EVENTS[:2] and not facts["version"]:
            raise KeyError(sort)  # noqa: TRY301 - as one that is missing
    except (ValueError, KeyError, TypeError):
        msg = "not a message of MLflow's registry"
        raise RefusedError(msg, 400) from None
    if not facts:
        return None
    if not facts["version"]:
        hear(client, facts["name"], alias, None, delivery)
        return None
    known = {"model": facts["name"], "version": facts["version"], "alias": alias}
    return _event(known, delivery, client)


def _event(known: Mapping[str, str], delivery: str, client: MlflowClient) -> Event | None:
    """Ask MLflow for the version, and the run it was made in, and tell of it as flowml itself would.

    What flowml did it has told of as well: that event has the same id, and Prefect's server takes one of them.
    """
    alias = known["alias"]
    version = _or_none(lambda: client.get_model_version(known["model"], known["version"]))
    if version is None or is_previous(alias):
        return None
    run_id = version.run_id or ""
    tags: Mapping[str, str] = (_or_none(lambda: client.get_run(run_id).data.tags) or {}) if run_id else {}
    if alias:
        made_by = maker_of(hear(client, known["model"], alias, known["version"], delivery))
    else:
        made_by = version.tags.get("flowml.run_id", "")
    facts = {**known, "made_by": made_by}
    payload = {"run_id": run_id or None, "tracking_uri": without_credentials(client.tracking_uri)}
    related = related_to(run_id, tags) if run_id else ()
    # Who promotes by hand is no deployment, whichever made the model.
    deployment = tags.get("prefect.deployment_id", vocabulary.NOBODY) if made_by else vocabulary.NOBODY
    tell = vocabulary.promoted if alias else vocabulary.registered
    return tell(facts, payload, related, deployment, delivery=_id(delivery))


def _or_none(ask: Callable[[], Any]) -> Any:
    """Do without what was deleted."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _id(delivery: str) -> UUID:
    """Make the id of an event from that of the message, so that one sent again tells nothing new."""
    try:
        return UUID(delivery)
    except ValueError:
        return uuid5(vocabulary.OURS, delivery)
