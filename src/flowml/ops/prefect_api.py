"""Prefect's API: which it is, the way to it, and its failures as one error that says what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from flowml.errors import FlowmlError, OrchestrationError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

PAGE = 200
"""The most that the API gives at once."""

START_IT = "Start it (`prefect server start`), or set PREFECT_API_URL to one that runs."

T = TypeVar("T")


def configured() -> str | None:
    """Return the address of the API that flows of this place use: the one that is set, or that of ``flowml up``.

    Returns:
        None where there is none: Prefect then starts a temporary server for each process that needs one.
    """
    from prefect.settings import PREFECT_API_URL

    from flowml.capture.engine import server

    server.find()
    server.expect_temporary()
    url = PREFECT_API_URL.value()
    return str(url) if url else None


def address(missing: str) -> str:
    """Return the address of the API, which has to be a server's: a temporary one starts nothing when we are gone.

    Args:
        missing: What to say first where there is none.

    Raises:
        OrchestrationError: If there is none.
    """
    url = configured()
    if not url:
        msg = f"{missing}. Start one with `flowml up`, or set PREFECT_API_URL."
        raise OrchestrationError(msg, api="")
    return url


@contextmanager
def reached() -> Iterator[SyncPrefectClient]:
    """Reach the API that is configured, or a temporary server of Prefect's own.

    Raises:
        OrchestrationError: If it cannot be reached.
    """
    from prefect.client.orchestration import get_client

    configured()
    with ExitStack() as opened:
        with explained():
            client = opened.enter_context(get_client(sync_client=True))
            unwell = client.api_healthcheck()
            if unwell is not None:
                raise unwell
        yield client


def flow_runs(client: SyncPrefectClient, ids: Iterable[UUID]) -> list[FlowRun]:
    """Read flow runs; those that do not exist are left out.

    Raises:
        OrchestrationError: If the API cannot be asked.
    """
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    found: list[FlowRun] = []
    for some in batched(ids, PAGE):
        with explained():
            found += client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=some)), limit=PAGE)
    return found


def batched(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Cut a series into lists of at most this many."""
    left = iter(items)
    while some := list(islice(left, most)):
        yield some


@contextmanager
def explained() -> Iterator[None]:
    """Turn whatever Prefect, httpx or the network raises into an `OrchestrationError`."""
    try:
        yield
    except FlowmlError:
        raise  # says already what to do
    except Exception as error:  # noqa: BLE001 - of Prefect, httpx, the network
        from flowml.capture.engine.attempt import api

        raise OrchestrationError(_message(api(), error), api=api()) from None


def _message(url: str, error: Exception) -> str:
    from flowml.capture.engine import server

    if text := server.closed(url, error):
        return text
    lines = (str(error) or type(error).__name__).splitlines()
    if getattr(error, "response", None) is not None:
        return f"Prefect's API at {url} refused what it was asked: {' '.join(lines[:2])[:600]}"
    reason = lines[0]
    return f"Prefect's API at {url} cannot be asked: {type(error).__name__}: {reason[:300].rstrip('.')}. {START_IT}"
