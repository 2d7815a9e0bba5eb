"""What MLflow, its database or the network raise, as one error that says what to do."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from flowml import faults
from flowml.errors import FlowmlError, RegistryError, TrackingError
from flowml.secrets import mask
from flowml.store.backend.retrying import OF_WHAT_WAS_SENT, is_without_login, may_pass

_LOGIN_REMEDY = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
_TRUST_REMEDY = "Set MLFLOW_TRACKING_SERVER_CERT_PATH to the file with the certificate of your authority."
_SERVERS = ("http", "postgresql", "mysql", "mssql")


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn whatever MLflow, its database or the network raises into a `TrackingError`."""
    try:
        yield
    except FlowmlError:
        raise  # says already what to do
    except Exception as error:
        if type(error) is LookupError:  # flowml's own: what was asked for is not there
            raise
        raise explain(uri, error) from None  # its cause would show the URI with the password


def explain(uri: str, error: BaseException) -> TrackingError:
    """Make the error that says what to do out of what MLflow, its database, the network, or flowml itself raised."""
    if isinstance(error, TrackingError):
        return error
    if isinstance(error, RegistryError):  # a decision, which no advice on the store helps with
        return TrackingError(mask(str(error)))
    logging.getLogger("flowml").debug("MLflow failed", exc_info=error)
    if faults.is_own(error):
        faults.note(error)
        return TrackingError(mask(faults.explain(error)))
    shown = mask(uri)
    if is_without_login(error):
        msg = f"MLflow at {shown} does not accept this login."
        return TrackingError(msg, uri=shown, remedy=_LOGIN_REMEDY, waits=True)
    if _UNTRUSTED in str(error):
        msg = f"The certificate of MLflow at {shown} is not trusted here."
        return TrackingError(msg, uri=shown, remedy=_TRUST_REMEDY, waits=True)
    reason = mask(str(error).replace(uri, shown)).splitlines()
    msg = f"MLflow at {shown} failed: {type(error).__name__}: {reason[0] if reason else ''}"
    remedy = "" if _is_of_what_was_sent(uri, error) else _remedy(uri, error)
    return TrackingError(f"{msg[:600].rstrip('.')}.", uri=shown, remedy=remedy, waits=may_pass(error))


def _is_of_what_was_sent(uri: str, error: BaseException) -> bool:
    """Tell whether a store was reached and says itself what it does not take: advice on the store would mislead."""
    return uri.startswith((*_SERVERS, "sqlite")) and getattr(error, "error_code", None) in OF_WHAT_WAS_SENT


def _remedy(uri: str, error: BaseException) -> str:
    text = str(error)
    if "out-of-date database schema" in text:
        return f"Run `mlflow db upgrade {mask(uri)}` (back the database up first)."
    if isinstance(error, OSError) and uri.startswith("http"):
        return "Start the server, or set MLFLOW_TRACKING_URI (or FLOWML_TRACKING_URI) to one that runs."
    if uri.startswith(_SERVERS):
        return "Check the address, the credentials and that the server runs."
    if uri.startswith("sqlite"):
        return "Check that its folder exists and can be written, or set FLOWML_HOME or MLFLOW_TRACKING_URI elsewhere."
    if uri.startswith(("file:", "/", ".")) or ":" not in uri:
        return (
            "MLflow no longer keeps runs in plain folders: use sqlite:///mlflow.db "
            "(`mlflow migrate-filestore` moves old runs), or unset MLFLOW_TRACKING_URI for flowml's own store."
        )
    return "A tracking URI looks like sqlite:////path/mlflow.db or http://host:5000."
