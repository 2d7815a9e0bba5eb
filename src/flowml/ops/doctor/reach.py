"""Whether Prefect's API and MLflow answer here."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from flowml.errors import FlowmlError
from flowml.ops.doctor.findings import Finding, Setup
from flowml.ops.prefect_address import is_plain
from flowml.ops.prefect_states import connected
from flowml.ops.runs import reading
from flowml.secrets import mask
from flowml.secrets.uris import without_credentials
from flowml.store.backend.connection import connect
from flowml.store.backend.failures import explained
from flowml.store.backend.in_force import is_there
from flowml.store.backend.urls import FLOWS

_START_IT = "Start it (`flowml up`), or set PREFECT_API_URL to one that runs."
_KNOCK, _SLOW = 5.0, 30.0  # seconds
_NOBODY = "00000000-0000-4000-8000-000000000000"  # the id of a flow run that there is not
_SOON = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}  # else MLflow tries for minutes


def prefect_api(setup: Setup) -> Iterator[Finding]:
    """Ask Prefect's API for its health, and for what needs its database."""
    if setup.api is None:
        yield Finding(
            "warning",
            "No Prefect server is configured: each flow starts one of its own, and so does each worker process.",
            "flowml up, or set PREFECT_API_URL to a server that runs.",
        )
        return
    problem = prefect_problem(setup.api)
    if problem:
        yield Finding("error", problem)  # says what to do
    else:
        yield Finding("ok", f"Prefect's API answers at {without_credentials(setup.api)}")


def mlflow(setup: Setup) -> Iterator[Finding]:
    """Ask MLflow for its newest flow run."""
    if setup.is_folder:
        return  # the check of the file store says so
    if not is_there() or _is_unmade(setup.uri):
        yield Finding("ok", f"{mask(setup.uri)} does not exist yet; the first run makes it")
        return
    problem = mlflow_problem(None)
    if problem:
        yield Finding("error", problem)  # says what to do
    else:
        yield Finding("ok", f"MLflow answers at {mask(setup.uri)}")


def prefect_problem(api: str) -> str | None:
    """Return what is wrong with Prefect's API as seen from this process; None if nothing is."""
    parts = urlsplit(api)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=_KNOCK):
            pass
        if is_plain(api):
            _ask_prefect(api)
        else:
            with connected() as prefect:
                prefect.flow_runs([_NOBODY])
    except FlowmlError as error:
        return str(error)
    except urllib.error.HTTPError as error:
        return f"Prefect's API at {without_credentials(api)} refused what it was asked: {error}."
    except (OSError, ValueError) as error:
        return f"Prefect's API at {without_credentials(api)} cannot be reached: {error}. {_START_IT}"
    return None


def _ask_prefect(api: str) -> None:
    """Ask for a flow run as Prefect's client does, without importing it."""
    asked = json.dumps({"flow_runs": {"id": {"any_": [_NOBODY]}}, "limit": 1}).encode()
    request = urllib.request.Request(  # noqa: S310 - `is_plain` says that it is http
        f"{api.rstrip('/')}/flow_runs/filter", asked, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=_SLOW) as answer:  # noqa: S310 - likewise
        json.load(answer)


def mlflow_problem(uri: str | None) -> str | None:
    """Return what is wrong with MLflow as seen from this process, and what to do; None if nothing is.

    Args:
        uri: Its tracking URI without credentials, as another process told it; None for the one in force here.
    """
    try:
        with impatient():
            if uri is None:
                store = reading()
                with explained(store.uri):
                    next(store.runs.newest(FLOWS, page=1), None)
            else:
                connection = connect(uri)
                with explained(connection.uri):
                    connection.client.search_experiments(max_results=1)
    except FlowmlError as error:
        return str(error)
    return None


def _is_unmade(uri: str) -> bool:
    return uri.startswith("sqlite:///") and not os.path.exists(uri.removeprefix("sqlite:///"))  # noqa: PTH110


@contextmanager
def impatient() -> Iterator[None]:
    """Let MLflow's client give up soon."""
    before = {name: os.environ.get(name) for name in _SOON}
    os.environ |= {name: value for name, value in _SOON.items() if before[name] is None}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


_SLIGHT, _MUCH = 3.0, 60.0  # seconds; the header has whole ones


def clocks(setup: Setup) -> Iterator[Finding]:
    """Compare the time in each server's answers with the time here."""
    servers = {"Prefect's": setup.api, "MLflow's": setup.uri if setup.uri.startswith("http") else None}
    urls = {name: url for name, url in servers.items() if url}
    if not urls:
        yield Finding("ok", "There is no server with a clock of its own")
    for name, url in urls.items():
        ahead = _ahead(url)
        if ahead is None:
            yield Finding("ok", f"{name} server did not tell the time")
        elif abs(ahead) < _SLIGHT:
            yield Finding("ok", f"{name} server has the time of this machine")
        else:
            yield Finding(
                "error" if abs(ahead) >= _MUCH else "warning",
                f"{name} server is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine: durations "
                "and the order of runs are wrong, and schedules run early or late.",
                "Let both machines take the time from the network (NTP).",
            )


def _ahead(url: str) -> float | None:
    """Return by how many seconds a server's clock is ahead; None if it cannot be known."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        with closing(kind(parts.hostname or "", parts.port, timeout=5)) as connection:
            before = time.time()
            connection.request("GET", f"{parts.path.rstrip('/')}/health")
            date = connection.getresponse().getheader("Date")
            here = (before + time.time()) / 2
    except (OSError, http.client.HTTPException):
        return None
    return parsedate_to_datetime(date).timestamp() + 0.5 - here if date else None
