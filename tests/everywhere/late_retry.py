"""A flow whose task has a second attempt, which MLflow does not take; `python -m tests.everywhere.late_retry`."""

from __future__ import annotations

from typing import Any

import requests

from flowml import flow, task

_send = requests.Session.send


def _refuse_the_second(session: requests.Session, request: requests.PreparedRequest, **more: Any) -> requests.Response:
    is_creation = str(request.url).endswith("/runs/create")
    if is_creation and b'"flowml.attempt", "value": "2"' in (request.body or b""):
        busy = requests.Response()
        busy.status_code, busy.request, busy.url = 503, request, str(request.url)
        return busy
    return _send(session, request, **more)


requests.Session.send = _refuse_the_second  # type: ignore[method-assign]
tries: list[int] = []


@task(retries=1)
def flaky() -> int:
    """Fail at first."""
    tries.append(1)
    if len(tries) == 1:
        raise ValueError
    return 2


@flow
def retrying() -> int:
    """Have a task that is tried again."""
    return flaky()


if __name__ == "__main__":
    retrying()
