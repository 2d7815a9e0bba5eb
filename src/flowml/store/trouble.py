"""What MLflow, its database or the network raise, as one error that says what to do."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, urlsplit

from flowml.errors import TrackingError


def masked(uri: str) -> str:
    """Return the URI without what should not be seen: the user's password."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return "<malformed URI>"
    if not parts.password:
        return uri
    host = parts.netloc.rpartition("@")[2]
    return SplitResult(
        parts.scheme, f"{parts.username}:********@{host}", parts.path, parts.query, parts.fragment
    ).geturl()


def without_credentials(uri: str) -> str:
    """Return the URI without user and password."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri
    host = parts.netloc.rpartition("@")[2]
    return uri if host == parts.netloc else parts._replace(netloc=host).geturl()


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn whatever MLflow, its database or the network raises into a `TrackingError`."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        logging.getLogger("flowml").debug("MLflow failed", exc_info=True)
        shown = masked(uri)
        reason = str(error).replace(uri, shown).splitlines()
        msg = f"MLflow at {shown} failed: {type(error).__name__}: {reason[0] if reason else ''}"
        raise TrackingError(msg[:600], uri=shown, remedy=_remedy(uri, error)) from error


def _remedy(uri: str, error: Exception) -> str:
    text = str(error)
    if "out-of-date database schema" in text:
        return f"Run `mlflow db upgrade {masked(uri)}` (back the database up first)."
    if isinstance(error, OSError) and uri.startswith("http"):
        return "Start the server, or set MLFLOW_TRACKING_URI (or FLOWML_TRACKING_URI) to one that runs."
    if uri.startswith(("http", "postgresql", "mysql", "mssql")):
        return "Check the address, the credentials and that the server runs."
    if uri.startswith("sqlite"):
        return "Check that its folder exists and can be written, or set FLOWML_HOME or MLFLOW_TRACKING_URI elsewhere."
    if uri.startswith(("file:", "/", ".")) or ":" not in uri:
        return (
            "MLflow no longer keeps runs in plain folders: use sqlite:///mlflow.db "
            "(`mlflow migrate-filestore` moves old runs), or unset MLFLOW_TRACKING_URI for flowml's own store."
        )
    return "A tracking URI looks like sqlite:////path/mlflow.db or http://host:5000."


def may_pass(error: Exception) -> bool:
    """Tell whether the same call may succeed later; False where MLflow refused what it was sent."""
    refused = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}
    return getattr(error, "error_code", None) not in refused
