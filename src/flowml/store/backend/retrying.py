"""What is tried again, and when: all that may pass, with growing pauses; not what is refused for good.

MLflow says by its error code what it refuses; what a proxy before it answers is not MLflow's word. Other errors are
told by their type: those of clients for buckets by the name of their class, for they need not be installed.
"""

from __future__ import annotations

import errno
import random
import re
import socket
import ssl
from collections.abc import Iterable, Iterator
from typing import Any

from flowml import faults
from flowml.errors import FlowmlError

# Codes of mlflow/protos/databricks.proto. All others may pass, "not found" of a whole endpoint too, which is what a
# proxy answers while the server behind it starts.
OF_WHAT_WAS_SENT = {"INVALID_PARAMETER_VALUE", "MALFORMED_REQUEST", "INVALID_STATE", "INVALID_STATE_TRANSITION"}
OF_WHAT_WAS_SENT |= {"NOT_FOUND", "RESOURCE_DOES_NOT_EXIST", "ALREADY_EXISTS", "RESOURCE_ALREADY_EXISTS"}
_REFUSED = OF_WHAT_WAS_SENT | {"BAD_REQUEST", "NOT_IMPLEMENTED", "PERMISSION_DENIED"}
_REFUSED.add("FEATURE_DISABLED")
_NO_LOGIN = {"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}
_BUSY = {"TEMPORARILY_UNAVAILABLE", "WORKSPACE_TEMPORARILY_UNAVAILABLE", "SERVICE_UNDER_MAINTENANCE"}
_BUSY |= {"REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}

# Where an answer holds no error code, MLflow's client makes one of the HTTP status: mlflow/utils/rest_utils.py. It is a
# proxy's then, or that of MLflow's own login: mlflow/server/auth.
_MADE_UP = re.compile(r"API request to endpoint .*? failed with error code (\d+) .*?Response body: '(.*)", re.DOTALL)
_DENIED = "Permission denied"
_UNAUTHORIZED = 401  # somebody may set other credentials: what was not sent waits
_ASKS_FOR_LOGIN = re.compile(r"unauthori[sz]ed|(?:not|un)[ _]?authenticated|invalid[ _]token|\b401\b", re.IGNORECASE)
_AS_LONG = {413, 414, 431, 501}  # statuses for what is too long or of no kind that is served: the same never passes

# A server calls each failure of its database a bad request. SQLAlchemy's names for those that pass stand in its text:
# no free connection, a connection that was lost, or that is in a transaction which was.
_LOST_CONNECTION = re.compile(r"sqlalche\.me/e/\w+/(3o7r|e3q8|rvf5|8s2b)\b|database is locked")

_ANSWERS = {408, 425, 429, 499}  # HTTP statuses below 500 after which the same may be sent again
_CODES = re.compile(
    r"Throttl|SlowDown|TooManyRequests|LimitExceeded|RequestTimeout|InternalError|OperationAborted|Busy"
)

# Classes of botocore, google, azure, requests, urllib3, httpx, database drivers, paramiko and ftplib, and of Python
# before 3.11. A class below one of these may pass too.
_CLASSES = {"HTTPClientError", "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "SSLError"}
_CLASSES |= {"ConnectionClosedError", "ConnectionError", "ProxyConnectionError", "ResponseStreamingError"}
_CLASSES |= {"CredentialRetrievalError", "MetadataRetrievalError", "IncompleteReadError", "IncompleteRead"}
_CLASSES |= {"TransportError", "RetryError", "DataCorruption", "ServiceRequestError", "ServiceResponseError"}
_CLASSES |= {"Timeout", "TimeoutError", "ChunkedEncodingError", "ContentDecodingError", "HTTPException", "PoolError"}
_CLASSES |= {"OperationalError", "InterfaceError", "SSHException", "error_temp"}

# Of a database that lets nobody in; of one that did, MLflow makes an error of its own.
_AT_THE_DOOR = {"OperationalError", "InterfaceError"}

# What a file system says of the name or of who asks; all else, such as ENOSPC, ESTALE and EIO, may pass.
_NAMES = (errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)
_FILES = {*_NAMES, errno.EACCES, errno.EPERM, errno.EROFS}
_NETWORK = (ConnectionError, TimeoutError, ssl.SSLError, socket.gaierror, socket.herror)  # their numbers are others'

_SERVERS_FAULT = range(500, 600)
_NOT_IMPLEMENTED = 501

_FIRST = 0.2  # seconds


def may_pass(error: BaseException) -> bool:
    """Tell whether the same call may succeed later; False where what was sent can never be taken."""
    if isinstance(error, FlowmlError) or faults.is_own(error):
        return False
    known = _known(_with_causes(error))
    if known is False and error.__cause__ is not None and _known([error.__cause__]):
        return True  # MLflow's client makes a refusal of its own of some errors, whatever they are
    return not isinstance(error, ValueError | ImportError | NotImplementedError) if known is None else known


def _known(errors: Iterable[BaseException]) -> bool | None:
    """Return what the first error says that says something."""
    verdicts = (verdict(each) for each in errors for verdict in (_verdict_on_answer, _verdict))
    return next((verdict for verdict in verdicts if verdict is not None), None)


def is_unreachable(error: BaseException) -> bool:
    """Tell whether the store itself could not be reached or is too busy, so that nothing else is sent to it now."""
    code = getattr(error, "error_code", None)
    if is_without_login(error):
        return True
    if isinstance(code, str):
        text = str(error)
        said = "failed with exception" in text or "failed with timeout exception" in text  # mlflow/utils/rest_utils.py
        return code in _BUSY or said or _is_lost_connection(code, text)
    if (status := _status(error)) is not None:
        return status in {429, 502, 503, 504}
    is_network = isinstance(error, _NETWORK) or type(error).__module__.startswith(("requests", "urllib3"))
    return is_network or type(error).__name__ in _AT_THE_DOOR or "database is locked" in str(error)


def is_without_login(error: BaseException) -> bool:
    """Tell whether a server does not know who asks: the credentials are missing or wrong."""
    code = getattr(error, "error_code", None)
    if not isinstance(code, str):
        return False
    found = _MADE_UP.match(str(error))
    if found:
        return int(found[1]) == _UNAUTHORIZED
    said = getattr(error, "json", None)  # of an object MLflow's client keeps no status
    is_others = isinstance(said, dict) and not said.get("error_code")
    return code in _NO_LOGIN or (is_others and _ASKS_FOR_LOGIN.search(str(said)) is not None)


def pause(failures: int, most: float) -> float:
    """Return the seconds to wait after failures: twice as many each time, up to a limit, and never just as many.

    Args:
        failures: How many there were in a row, at least one.
        most: The limit.
    """
    spread = random.uniform(0.75, 1.25)  # noqa: S311 - for many processes not to come back at the same moment
    return min(_FIRST * 2.0 ** min(failures - 1, 20), most) * spread


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Return an error and what it was made of, such as a client's error in that of an upload."""
    seen: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in seen:
        seen.append(each)
        yield each
        each = each.__cause__ or each.__context__


def _verdict_on_answer(error: BaseException) -> bool | None:
    """Tell whether an answer to MLflow's client that holds no word of MLflow's may pass; None for all else."""
    if isinstance(getattr(error, "error_code", None), str):
        found = _MADE_UP.match(str(error))
        status, said = (int(found[1]), found[2]) if found else (None, "")
    else:
        response: Any = getattr(error, "response", None)
        is_file = "/mlflow-artifacts/" in str(getattr(response, "url", ""))
        status, said = (response.status_code, response.text) if is_file else (None, "")
    if status is None or '"error_code"' in said:
        return None
    return status not in _AS_LONG and not said.startswith(_DENIED)


def _verdict(error: BaseException) -> bool | None:
    """Tell whether one error may pass; None if it says nothing of that."""
    code = getattr(error, "error_code", None)
    if isinstance(code, str):
        return code not in _REFUSED or _is_lost_connection(code, str(error))
    if (status := _status(error)) is not None:
        if status in _ANSWERS or (status in _SERVERS_FAULT and status != _NOT_IMPLEMENTED):
            return True
        return _CODES.search(_code(error)) is not None
    if isinstance(error, _NETWORK) or not _CLASSES.isdisjoint(kind.__name__ for kind in type(error).__mro__):
        return True
    if isinstance(error, OSError):
        # The error of a whole folder has none of its own, but has those of its files in its text.
        numbers = (
            {error.errno} if error.errno else {int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))}
        )
        return not numbers or not numbers <= _FILES
    return None


def _is_lost_connection(code: str, text: str) -> bool:
    return code == "BAD_REQUEST" and _LOST_CONNECTION.search(text) is not None


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of the answer that an error is about, wherever its client keeps it."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(response, "status_code", None)
    for other in (found, getattr(error, "status_code", None), getattr(error, "code", None)):
        if isinstance(other, int) and 100 <= other < 600:  # noqa: PLR2004 - what HTTP has; gRPC's codes are others
            return int(other)
    return None


def _code(error: BaseException) -> str:
    """Return a bucket's own word for what went wrong; some say with status 400 that they are too busy."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
