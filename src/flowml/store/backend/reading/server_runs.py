"""Runs as an MLflow server tells them, asked by its REST API as MLflow's own client asks it; and an experiment's tags.

The address, the user, the token, the certificates and the proxies are found where MLflow finds them.
"""

from __future__ import annotations

import base64
import heapq
import os
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cached_property
from http import HTTPStatus
from importlib.metadata import entry_points
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flowml import mlflow_limits
from flowml.store.backend.connection import check_reachable
from flowml.store.backend.reading.rows import Data, Info, Row

if TYPE_CHECKING:
    import requests
    from mlflow.entities import Run

_NOT_HERE = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_WORKSPACE")
_HEADERS = "mlflow.request_header_provider"
_WHO = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
_CONNECT, _READ = 5.0, 120.0  # seconds; the latter is MLflow's own
_MAY_PASS = (429, 500, 502, 503, 504)
_AT_ONCE = 200  # experiments in one question


class RequestRefusedError(Exception):
    """A server was reached, and did not give what it was asked for.

    Attributes:
        error_code: MLflow's word for the reason; None if the answer is not MLflow's.
    """

    def __init__(self, message: str, error_code: str | None) -> None:
        super().__init__(message)
        self.error_code = error_code


def can_read(uri: str) -> bool:
    """Tell whether a store is a server that is asked in a way that is known here, without a plugin of MLflow's."""
    is_server = uri.startswith(("http://", "https://"))
    return is_server and not any(map(os.environ.get, _NOT_HERE)) and not entry_points(group=_HEADERS)


class Server:
    """An MLflow server, to be read; the one thing that is written is an experiment's tag.

    Args:
        uri: Its address, with credentials if it has some.
        is_local: Whether it is of this machine: no proxy leads there, and nobody need say who asks.
    """

    def __init__(self, uri: str, *, is_local: bool = False) -> None:
        self._uri = uri
        self._is_local = is_local

    def search(
        self, mine: str, *, newest_first: bool, deleted: bool = False, page: int = mlflow_limits.PAGE
    ) -> Iterator[Run]:
        """Go through the runs that a filter lets through.

        Args:
            mine: A filter in MLflow's words.
            newest_first: Which end to begin at.
            deleted: Take those that are deleted, in place of those that are not.
            page: How many are wanted, probably.

        Raises:
            OSError: If the server cannot be reached.
            RequestRefusedError: If it does not answer as MLflow does.
        """
        asked = {
            "filter": mine,
            "run_view_type": "DELETED_ONLY" if deleted else "ACTIVE_ONLY",
            "max_results": page,
            "order_by": [f"attributes.start_time {'DESC' if newest_first else 'ASC'}"],
        }
        ids = (one["experiment_id"] for one in self._all("experiments", {"max_results": mlflow_limits.PAGE}))
        every = []
        while some := list(islice(ids, _AT_ONCE)):
            every.append(map(_row, self._all("runs", {**asked, "experiment_ids": some})))
        merged = heapq.merge(*every, key=lambda row: row.info.start_time, reverse=newest_first)
        yield from cast("Iterator[Run]", merged)  # what is asked of it is there

    def experiment(self, experiment_id: str) -> dict[str, Any]:
        """Return an experiment, as the server tells it.

        Raises:
            OSError: If the server cannot be reached.
            RequestRefusedError: If it does not give it.
        """
        return dict(self._ask("experiments/get", {"experiment_id": experiment_id}, method="GET")["experiment"])

    def tag_experiment(self, experiment_id: str, key: str, value: str) -> None:
        """Set a tag of an experiment.

        Raises:
            OSError: If the server cannot be reached.
            RequestRefusedError: If it does not take it.
        """
        self._ask("experiments/set-experiment-tag", {"experiment_id": experiment_id, "key": key, "value": value})

    def _all(self, what: str, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Go through all pages of what is searched for."""
        token = ""
        while True:
            answer = self._ask(f"{what}/search", {**asked, "page_token": token} if token else asked)
            yield from answer.get(what, [])
            token = answer.get("next_page_token", "")
            if not token:
                return

    def _ask(self, path: str, asked: dict[str, Any], *, method: str = "POST") -> dict[str, Any]:
        timeout = (_CONNECT, float(os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT") or _READ))
        url = f"{self._uri.rstrip('/')}/api/2.0/mlflow/{path}"
        who = {} if self._is_local else _headers()
        told: dict[str, Any] = {"params": asked} if method == "GET" else {"json": asked}
        response = self._session.request(method, url, headers=who, timeout=timeout, **told, **_tls())
        try:
            answer = response.json()
        except ValueError:
            answer = None
        is_mlflows = isinstance(answer, dict)
        if response.ok and is_mlflows:
            return dict(answer)
        said = (answer.get("message") if is_mlflows else None) or " ".join(response.text.split())[:200]
        msg = f"it answered with status {response.status_code}: {said}"
        code = answer.get("error_code") if is_mlflows else None
        asks_for_login = is_mlflows or "WWW-Authenticate" in response.headers  # else it is some page
        if response.status_code == HTTPStatus.UNAUTHORIZED and asks_for_login:
            code = code or "UNAUTHENTICATED"
        raise RequestRefusedError(msg, code)

    @cached_property
    def _session(self) -> requests.Session:
        import requests
        from requests.adapters import HTTPAdapter, Retry  # type: ignore[attr-defined] # types-requests leaves it out

        check_reachable(self._uri)
        session = requests.Session()
        session.trust_env = not self._is_local
        again = Retry(  # it may be asked twice: a tag that is set again is the same
            2, connect=0, backoff_factor=0.5, status_forcelist=_MAY_PASS, allowed_methods=None, raise_on_status=False
        )
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=again))
        return session


def _headers() -> dict[str, str]:
    """Return what says who asks; what stands in the address itself counts more, as `requests` has it."""
    file = ConfigParser(interpolation=None)
    file.read(Path("~/.mlflow/credentials").expanduser())
    kept = dict(file["mlflow"]) if "mlflow" in file else {}
    user, password = (os.environ.get(name) or kept.get(name.lower()) for name in _WHO)
    if user and password:
        return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _tls() -> dict[str, Any]:
    """Return what is trusted; given with each request, for else a bundle in the environment would count more."""
    trusted = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in {"true", "1"}
    return {"verify": not insecure and (trusted or True), "cert": os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")}


def _row(told: dict[str, Any]) -> Row:
    info, data = told["info"], told.get("data", {})
    head = (info["run_id"], info["experiment_id"], info.get("run_name", ""), info["status"], int(info["start_time"]))
    ended = int(info["end_time"]) if info.get("end_time") is not None else None
    tags, params = ({one["key"]: one.get("value", "") for one in data.get(kind, [])} for kind in ("tags", "params"))
    metrics = {one["key"]: float(one["value"]) for one in data.get("metrics", [])}  # NaN comes as a text
    return Row(Info(*head, ended, info["lifecycle_stage"]), Data(tags, params, metrics))
