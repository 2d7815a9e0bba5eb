"""What may pass and is tried again, and what is refused for good."""

from __future__ import annotations

import concurrent.futures
import errno
import http.client
import shutil
import socket
import sqlite3
import ssl
import urllib.error
import warnings
from email.message import Message
from importlib import import_module
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import sqlalchemy.exc
import urllib3.exceptions
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import ErrorCode
from mlflow.utils.request_utils import augmented_raise_for_status
from mlflow.utils.rest_utils import verify_rest_response

from flowml import TrackingError
from flowml.store.backend.retrying import is_unreachable, may_pass, pause

REFUSED = [
    *("ALREADY_EXISTS", "BAD_REQUEST", "FEATURE_DISABLED", "INVALID_PARAMETER_VALUE"),
    *("INVALID_STATE", "INVALID_STATE_TRANSITION", "MALFORMED_REQUEST", "NOT_FOUND", "NOT_IMPLEMENTED"),
    *("PERMISSION_DENIED", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"),
]


def of(package: str, name: str, *above: str, **attributes: Any) -> BaseException:
    """Make an error of a package: of its own class where it has that, else of one with the same names above it."""
    kind: type[BaseException] = Exception
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Google's package warns of another one that is missing
            kind = getattr(import_module(package), name)
    except (ImportError, AttributeError):  # not installed, or the class is one that nobody has yet
        for each in (*reversed(above), name):
            kind = type(each, (kind,), {"__module__": package})
    error = kind.__new__(kind)  # each class wants other arguments
    vars(error).update(attributes)
    return error


def of_botocore(code: str, status: int) -> BaseException:
    """Make botocore's error for an answer of a bucket."""
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return of("botocore.exceptions", "ClientError", response=response)


def of_requests(status: int) -> BaseException:
    """Make the error of requests for a status."""
    return requests.HTTPError(str(status), response=SimpleNamespace(status_code=status))  # type: ignore[arg-type]


def of_boto3(inner: BaseException) -> BaseException:
    """Make boto3's error for an upload, which holds that of botocore."""
    error = of("boto3.exceptions", "S3UploadFailedError", "Boto3Error")
    error.__context__ = inner
    return error


def of_sqlalchemy(kind: type[sqlalchemy.exc.DBAPIError], inner: Exception) -> MlflowException:
    """Make MLflow's error for one of its database, as `mlflow.store.db.utils` does."""
    return MlflowException(str(kind("INSERT", {}, inner)), ErrorCode.Value("BAD_REQUEST"))


def of_mlflow(code: str) -> MlflowException:
    """Make MLflow's error of a code."""
    return MlflowException(code, ErrorCode.Value(code))


def answered(status: int, body: str) -> BaseException:
    """Make the error of MLflow's client for an answer of a server, or of what stands before it."""
    response = requests.Response()
    response.status_code, response._content = status, body.encode()
    with pytest.raises(MlflowException) as raised:
        verify_rest_response(response, "/api/2.0/mlflow/runs/create")
    return raised.value


def uploaded(status: int, body: str) -> BaseException:
    """Make the error of a file that was sent to MLflow's server."""
    response = requests.Response()
    response.status_code, response._content = status, body.encode()
    response.url = "http://h/api/2.0/mlflow-artifacts/artifacts/0/1/artifacts/a.txt"
    with pytest.raises(requests.HTTPError) as raised:
        augmented_raise_for_status(response)
    return raised.value


WAF, NO = "<html>\nwaf</html>", '{"error_code": "PERMISSION_DENIED", "message": "no"}'
LOGIN = "You are not authenticated. Please see the docs."
AZURE, BOTOCORE = "azure.core.exceptions", "botocore.exceptions"
GOOGLE, GOOGLE_AUTH = "google.api_core.exceptions", "google.auth.exceptions"
PASSING: dict[str, BaseException] = {
    **{f"MLflow {code}": of_mlflow(code) for code in ErrorCode.keys() if code not in REFUSED},  # noqa: SIM118 - no mapping
    "MLflow, a code that it does not know": RestException({"error_code": "A_NEW_ONE", "message": "?"}),
    **{f"a proxy, {status}": answered(status, WAF) for status in (400, 401, 403, 404, 405, 407, 409, 429, 502, 503)},
    **{f"a proxy, {status} to a file": uploaded(status, WAF) for status in (400, 401, 403, 404, 409, 503)},
    "MLflow, its login": answered(401, LOGIN),
    "MLflow, its login, to a file": uploaded(401, LOGIN),
    "a proxy, an object that asks for a login": answered(401, '{"detail": "Not authenticated"}'),
    "a proxy, an object without a code": answered(403, '{"message": "Forbidden"}'),
    "MLflow, a connection refused": MlflowException("API request to http://h failed with exception refused"),
    "MLflow, no free connection to its database": MlflowException(
        str(sqlalchemy.exc.TimeoutError("QueuePool limit of size 5 reached", code="3o7r")),
        ErrorCode.Value("BAD_REQUEST"),
    ),
    "MLflow, its database's connection lost": of_sqlalchemy(sqlalchemy.exc.InterfaceError, Exception("closed")),
    "connection refused": ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
    "connection reset": ConnectionResetError(errno.ECONNRESET, "reset"),
    "broken pipe": BrokenPipeError(errno.EPIPE, "pipe"),
    "no route to the host": OSError(errno.EHOSTUNREACH, "no route"),
    "DNS": socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution"),
    "TLS": ssl.SSLError(1, "wrong version number"),
    "TLS certificate": ssl.SSLCertVerificationError(1, "not valid yet"),
    "timeout": TimeoutError(),
    "timeout of a future": concurrent.futures.TimeoutError(),
    "answer cut off": http.client.IncompleteRead(b""),
    "answer of urllib": urllib.error.HTTPError("http://h", 503, "busy", Message(), None),
    "urllib3": urllib3.exceptions.ProtocolError("aborted"),
    "requests, connection": requests.ConnectionError(),
    "requests, body cut off": requests.exceptions.ChunkedEncodingError(),
    "requests, timeout": requests.ReadTimeout(),
    **{f"HTTP {status}": of_requests(status) for status in (408, 425, 429, 500, 502, 503, 504, 507, 520, 599)},
    **{f"S3 {code}": of_botocore(code, 503) for code in ("SlowDown", "ServiceUnavailable", "Whatever")},
    **{
        f"S3 {code} with 400": of_botocore(code, 400)
        for code in ("RequestTimeout", "Throttling", "ThrottlingException", "TooManyRequestsException")
    },
    "S3, upload of a file": of_boto3(of_botocore("SlowDown", 503)),
    "S3, no endpoint": of(BOTOCORE, "EndpointConnectionError", "ConnectionError", "BotoCoreError"),
    "S3, connect timeout": of(BOTOCORE, "ConnectTimeoutError", "ConnectionError", "BotoCoreError"),
    "S3, read timeout": of(BOTOCORE, "ReadTimeoutError", "HTTPClientError", "BotoCoreError"),
    "S3, connection closed": of(BOTOCORE, "ConnectionClosedError", "HTTPClientError", "BotoCoreError"),
    "S3, answer cut off": of(BOTOCORE, "ResponseStreamingError", "HTTPClientError", "BotoCoreError"),
    "S3, TLS": of(BOTOCORE, "SSLError", "ConnectionError", "BotoCoreError"),
    "S3, no credentials from the machine": of(BOTOCORE, "MetadataRetrievalError", "BotoCoreError"),
    "S3, a class not known here": of(BOTOCORE, "NewerError", "BotoCoreError"),
    "Google 429": of(GOOGLE, "TooManyRequests", "GoogleAPICallError", "GoogleAPIError", code=429),
    "Google 500": of(GOOGLE, "InternalServerError", "ServerError", "GoogleAPICallError", code=500),
    "Google 503": of(GOOGLE, "ServiceUnavailable", "ServerError", "GoogleAPICallError", code=503),
    "Google 504": of(GOOGLE, "DeadlineExceeded", "GatewayTimeout", "GoogleAPICallError", code=504),
    "Google, tried again in vain": of(GOOGLE, "RetryError", "GoogleAPIError"),
    "Google, its token's server": of(GOOGLE_AUTH, "TransportError", "GoogleAuthError"),
    "Azure, request not sent": of(AZURE, "ServiceRequestError", "AzureError"),
    "Azure, no answer": of(AZURE, "ServiceResponseTimeoutError", "ServiceResponseError", "AzureError"),
    "Azure 503": of(AZURE, "HttpResponseError", "AzureError", status_code=503),
    "Azure 429": of(AZURE, "HttpResponseError", "AzureError", status_code=429),
    **{
        f"file system {code}": OSError(getattr(errno, code), code)
        for code in ("ENOSPC", "EDQUOT", "ESTALE", "EIO", "EBUSY", "EMFILE", "EAGAIN", "ENOTCONN", "ENOMEM")
    },
    "a folder to a full disk": shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
    "out of memory": MemoryError(),
    "SQLite": sqlite3.OperationalError("database is locked"),
    "SQL": sqlalchemy.exc.OperationalError("INSERT", {}, Exception("server closed the connection unexpectedly")),
    "no more threads": RuntimeError("can't start new thread"),
}
FOR_GOOD: dict[str, BaseException] = {
    **{f"MLflow {code}": of_mlflow(code) for code in REFUSED},
    "MLflow, its answer": answered(403, NO),
    "MLflow, its answer to a file": uploaded(403, NO),
    "MLflow, what a user may not": answered(403, "Permission denied"),
    "MLflow, what a user may not, to a file": uploaded(403, "Permission denied"),
    **{f"a proxy, {status}": answered(status, WAF) for status in (413, 414, 431, 501)},
    "a proxy, 413 to a file": uploaded(413, WAF),
    "MLflow, a row that its database refuses": of_sqlalchemy(sqlalchemy.exc.DataError, Exception("too long")),
    **{f"HTTP {status}": of_requests(status) for status in (400, 401, 403, 404, 409, 411, 413, 422, 501)},
    "S3 AccessDenied": of_botocore("AccessDenied", 403),
    "S3 NoSuchBucket": of_boto3(of_botocore("NoSuchBucket", 404)),
    "Google 403": of(GOOGLE, "Forbidden", "ClientError", "GoogleAPICallError", code=403),
    "Azure 403": of(AZURE, "ClientAuthenticationError", "HttpResponseError", "AzureError", status_code=403),
    **{
        f"file system {code}": OSError(getattr(errno, code), code)
        for code in ("EACCES", "EPERM", "ENOENT", "ENOTDIR", "EISDIR", "EEXIST", "ENAMETOOLONG", "EROFS")
    },
    "a folder that nobody may write to": shutil.Error([("a", "b", "[Errno 13] Permission denied: 'b'")]),
    "a library that is not installed": ModuleNotFoundError("No module named 'boto3'"),
    "a value that a library does not take": ValueError("not a bucket"),
    "flowml": TrackingError("the MLflow experiment was deleted."),
    "flowml's own fault": TypeError("unsupported operand"),
}


def test_the_tables_hold_every_code_of_mlflow() -> None:
    """Each error code of MLflow stands in one of the two tables."""
    assert {f"MLflow {code}" for code in ErrorCode.keys()} <= {*PASSING, *FOR_GOOD}  # noqa: SIM118 - no mapping


@pytest.mark.parametrize("error", [pytest.param(error, id=name) for name, error in PASSING.items()])
def test_it_may_pass(error: BaseException) -> None:
    """What a server, a network or a disk may get over is tried again."""
    assert may_pass(error)


@pytest.mark.parametrize("error", [pytest.param(error, id=name) for name, error in FOR_GOOD.items()])
def test_it_is_refused_for_good(error: BaseException) -> None:
    """What can never be taken is not, and holds nothing else up."""
    assert not may_pass(error)
    assert not is_unreachable(error)


@pytest.mark.parametrize(
    "name",
    [
        "connection refused",
        "DNS",
        "TLS",
        "SQL",
        "timeout",
        "HTTP 429",
        "HTTP 503",
        "SQLite",
        "MLflow, a connection refused",
    ]
    + ["MLflow, its login", "MLflow UNAUTHENTICATED", "a proxy, 401"]
    + ["a proxy, an object that asks for a login"]
    + [f"MLflow {code}" for code in ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")],
)
def test_the_store_is_left_alone_for_a_while(name: str) -> None:
    """What says that nobody is served now stops the sending of other runs too."""
    assert is_unreachable(PASSING[name])


def test_pauses_grow() -> None:
    """Each pause is longer than the last, up to the limit, and no two processes pause alike."""
    pauses = [pause(failures, most=15.0) for failures in range(1, 100)]
    assert all(later > earlier for earlier, later in pairwise(pauses[:7]))
    assert all(12 > pauses[3] > 1 and 10 < each < 20 for each in pauses[10:])
    assert len(set(pauses)) == len(pauses)
