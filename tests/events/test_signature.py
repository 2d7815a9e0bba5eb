"""Which messages the receiver takes: those that MLflow signed, young, once."""

from __future__ import annotations

import time
from typing import Any

import pytest
from mlflow.webhooks.delivery import _generate_hmac_signature

from flowml.events.webhooks.signature import Guard, RefusedError

SECRET = "a secret of some length"
NOW = 1_700_000_000.0


def signed(body: bytes, *, secret: str = SECRET, delivery: str = "d1", at: float = NOW) -> dict[str, str]:
    """Sign as MLflow itself does."""
    stamp = str(int(at))
    return {
        "X-MLflow-Delivery-Id": delivery,
        "X-MLflow-Timestamp": stamp,
        "X-MLflow-Signature": _generate_hmac_signature(secret, delivery, stamp, body.decode()),
    }


def guard() -> Guard:
    """Make one that always has the same time."""
    return Guard(SECRET, clock=lambda: NOW)


def test_what_mlflow_signed_is_taken() -> None:
    """A message with MLflow's own signature passes, and gives its id."""
    assert guard().check(signed(b"{}"), b"{}") == "d1"


def without(name: str) -> dict[str, str]:
    """Leave one header out."""
    return {key: value for key, value in signed(b"{}").items() if key != name}


@pytest.mark.parametrize(
    "headers,body,status,why",
    [
        ({}, b"{}", 401, "not signed"),
        (without("X-MLflow-Signature"), b"{}", 401, "not signed"),
        (without("X-MLflow-Timestamp"), b"{}", 401, "not signed"),
        (without("X-MLflow-Delivery-Id"), b"{}", 401, "not signed"),
        (signed(b"{}", secret="another secret of that"), b"{}", 401, "another secret"),
        (signed(b"{}"), b"{ }", 401, "another secret"),
        ({**signed(b"{}"), "X-MLflow-Delivery-Id": "d2"}, b"{}", 401, "another secret"),
        ({**signed(b"{}"), "X-MLflow-Timestamp": str(int(NOW) + 1)}, b"{}", 401, "another secret"),
        ({**signed(b"{}"), "X-MLflow-Signature": "v1,ünsigned"}, b"{}", 401, "another secret"),
        (signed(b"{}", at=NOW - 301), b"{}", 401, "ago, or in the future"),
        (signed(b"{}", at=NOW + 301), b"{}", 401, "ago, or in the future"),
    ],
)
def test_other_messages_are_refused(headers: Any, body: bytes, status: int, why: str) -> None:
    """Unsigned, forged, changed, or old: each is refused, and the reason is said."""
    with pytest.raises(RefusedError, match=why) as caught:
        guard().check(headers, body)
    assert caught.value.status == status


def test_a_message_is_taken_once() -> None:
    """The same one again is refused, until it is said that it came to nothing."""
    once = guard()
    once.take(once.check(signed(b"{}"), b"{}"))
    with pytest.raises(RefusedError, match="taken before") as caught:
        once.check(signed(b"{}"), b"{}")
    assert caught.value.status == 409
    once.release("d1")
    assert once.check(signed(b"{}"), b"{}") == "d1"


def test_what_was_taken_is_forgotten_when_it_is_too_old_anyway() -> None:
    """The list of what was taken does not grow for ever."""
    clock = [NOW]
    long = Guard(SECRET, clock=lambda: clock[0])
    for minute in range(60):
        clock[0] = NOW + 60 * minute
        long.take(f"d{minute}")
    assert len(long._seen) <= 11


def test_the_clock_is_that_of_the_machine() -> None:
    """A message of this moment passes."""
    assert Guard(SECRET).check(signed(b"{}", at=time.time()), b"{}") == "d1"
