"""Whether a message is MLflow's own: signed with the shared secret, young, and not seen before."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping

SIGNATURE = "X-MLflow-Signature"
TIMESTAMP = "X-MLflow-Timestamp"
DELIVERY = "X-MLflow-Delivery-Id"

OLDEST = 300.0
"""Seconds after which a message is no longer taken."""

_VERSION = "v1"
_LONGEST_ID = 100


class RefusedError(Exception):
    """A message that is not taken.

    Attributes:
        status: The HTTP status that says so.
    """

    def __init__(self, why: str, status: int = 401) -> None:
        super().__init__(why)
        self.status = status


class Guard:
    """Lets MLflow's messages through, each once.

    Args:
        secret: What MLflow signs with.
        clock: Tells the time, in seconds since 1970.
    """

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret.encode()
        self._clock = clock
        self._seen: dict[str, float] = {}  # when each delivery was taken: older ones are refused for their age

    def check(self, headers: Mapping[str, str], body: bytes) -> str:
        """Refuse what is not MLflow's; return the delivery's id.

        Raises:
            RefusedError: If it is not signed, signed with another secret, old, or was taken before.
        """
        delivery, timestamp = headers.get(DELIVERY, ""), headers.get(TIMESTAMP, "")
        signature = headers.get(SIGNATURE, "")
        if not (signature and delivery and timestamp) or len(delivery) > _LONGEST_ID:
            msg = f"not signed: {SIGNATURE}, {TIMESTAMP} and {DELIVERY} are needed"
            raise RefusedError(msg)
        signed = f"{delivery}.{timestamp}.".encode() + body
        own = base64.b64encode(hmac.new(self._secret, signed, hashlib.sha256).digest()).decode()
        if not hmac.compare_digest(f"{_VERSION},{own}".encode(), signature.encode()):
            msg = "signed with another secret"
            raise RefusedError(msg)
        age = self._clock() - int(timestamp) if timestamp.isascii() and timestamp.isdigit() else OLDEST + 1
        if abs(age) > OLDEST:
            msg = f"signed more than {OLDEST:g} seconds ago, or in the future"
            raise RefusedError(msg)
        if delivery in self._seen:
            msg = "taken before"
            raise RefusedError(msg, 409)
        return delivery

    def take(self, delivery: str) -> None:
        """Note that a delivery was taken, so that it is not a second time."""
        now = self._clock()
        self._seen[delivery] = now
        # A message may be stamped up to OLDEST ahead: it is young for twice as long.
        self._seen = {one: when for one, when in self._seen.items() if now - when <= 2 * OLDEST}

    def release(self, delivery: str) -> None:
        """Let a delivery that came to nothing be sent again."""
        self._seen.pop(delivery, None)
