"""Spares each call to an MLflow server what it need not do: wait for an acknowledgement, look for Databricks, retry.

A server that shares its port among workers sends an answer's head and body as two packets, the second one when the
first is acknowledged (Nagle's algorithm, RFC 896). Linux acknowledges after 40 ms where it has nothing else to send
(RFC 1122, section 4.2.3.2), or at once where it is told so for each answer (TCP_QUICKACK, tcp(7)).

MLflow's client sends a call that fails eight times, with four minutes of pauses. flowml's sender tries again by itself,
and meanwhile has other runs to send, and flows that wait for a limited time: it takes the second failure for one.

MLflow finds out anew for each call whether it is made in Databricks, by eleven imports that fail: a quarter of the
processor time that the call takes in this process.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from requests import Session

_OF_DATABRICKS = "DatabricksRequestHeaderProvider"
_RETRIES = 1  # of one call in flowml's own threads
_QUICK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux has it


@cache
def install() -> None:
    """Make MLflow's calls to servers cheaper, flowml's and the user's alike; leave trying again to flowml's sender."""
    _change_sessions()
    _ask_for_databricks_once()


def _ask_for_databricks_once() -> None:
    """Take away what adds headers in Databricks, where this is not Databricks and cannot become it."""
    from mlflow.tracking.request_header import registry

    known: Any = getattr(registry, "_request_header_provider_registry", None)
    if hasattr(known, "_registry") and find_spec("pyspark") is None:  # its session may be opened later, on a cluster
        # A new list: other threads may be going through the old one.
        known._registry = [each for each in known if type(each).__name__ != _OF_DATABRICKS or _may_apply(each)]  # noqa: SLF001


def _may_apply(provider: Any) -> bool:
    try:
        return bool(provider.in_context())
    except Exception:  # noqa: BLE001 - MLflow asks again at each call, and warns
        return True


def _change_sessions() -> None:
    from mlflow.utils import request_utils

    plain: Any = getattr(request_utils, "_get_request_session", None)
    if plain is None:
        return

    def quick(max_retries: int, *args: Any, **kwargs: Any) -> Session:
        if threading.current_thread().name.startswith("flowml-"):
            max_retries = min(max_retries, _RETRIES)
        session: Session = plain(max_retries, *args, **kwargs)
        for adapter in session.adapters.values() if _QUICK is not None else ():
            _make_quick(getattr(adapter, "poolmanager", None))
        return session

    request_utils._get_request_session = quick  # noqa: SLF001 - all sessions of MLflow's come from there


def _make_quick(manager: Any) -> None:
    """Give a session's pool manager connections that acknowledge at once; those it has already are closed."""
    if manager is not None and manager.pool_classes_by_scheme is not _pools():
        manager.pool_classes_by_scheme = _pools()
        manager.clear()


@cache
def _pools() -> dict[str, type]:
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    class Connection(_Quick, HTTPConnection):
        pass

    class SafeConnection(_Quick, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class SafePool(HTTPSConnectionPool):
        ConnectionCls = SafeConnection

    return {"http": Pool, "https": SafePool}


class _Quick:
    """A connection that says before it reads an answer that it acknowledges at once."""

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        me: Any = self
        with suppress(AttributeError, OSError):  # of a proxy within TLS: as slow as before
            me.sock.setsockopt(socket.IPPROTO_TCP, _QUICK, 1)
        inner: Any = super()
        return inner.getresponse(*args, **kwargs)
