"""The places of a server for versions: the one that answers, and those that are tried beside it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from flowml.errors import SettingsError
from flowml.store.registered import ModelRef, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowml.serving.versions import Served

Role: TypeAlias = Literal["main", "canary", "shadow"]  # what a version is served as

_ALL = 2**64


class Slot:
    """Holds the version that answers under one alias, while that changes.

    Attributes:
        current: The version; None as long as there is none.
    """

    def __init__(self) -> None:
        self.current: Served | None = None

    async def use(self, served: Served) -> None:
        """Let a version answer all new requests; the one before ends what it has begun."""
        before, self.current = self.current, served
        if before:
            await before.retire()

    async def close(self) -> None:
        """Answer no more."""
        if self.current:
            await self.current.retire()


@dataclass(frozen=True, slots=True)
class Canary:
    """A version that gets a share of the requests.

    Attributes:
        ref: Which.
        share: The part of the requests that it gets, from 0 to 1.
        by: The header whose value decides, so that whoever sends it always gets the same version; else it is chance.
    """

    ref: ModelRef
    share: float
    by: str = ""

    def takes(self, headers: Mapping[bytes, bytes], number: str) -> bool:
        """Tell whether a request is one of its own.

        Args:
            headers: The request's.
            number: The request's id.
        """
        key = headers.get(self.by.lower().encode()) if self.by else None
        told = key if key is not None else number.encode()
        return int.from_bytes(hashlib.sha256(told).digest()[:8], "big") < self.share * _ALL


def canary_of(text: str, by: str = "") -> Canary:
    """Read what is typed: ``churn@challenger:5%``.

    Raises:
        SettingsError: If it is no share of the requests.
        RegistryError: If it names no version.
    """
    named, _, share = text.rpartition(":")
    number = share.removesuffix("%")
    try:
        part = float(number) / 100
    except ValueError:
        part = -1.0
    if not named or not share.endswith("%") or not 0 < part < 1:
        msg = f"--canary cannot be {text!r}: write the version and its share, such as churn@challenger:5%."
        raise SettingsError(msg, setting="canary", value=text)
    return Canary(parse(named), part, by)
