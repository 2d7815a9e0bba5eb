"""How many replicas answer, as it is typed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flowml.errors import SettingsError

_COUNT = re.compile(r"(\d+)(?::(\d+))?")


@dataclass(frozen=True, slots=True)
class Count:
    """How many replicas there are.

    Attributes:
        least: The fewest.
        most: The most; where it is more than the fewest, the cluster chooses by the requests that wait.
    """

    least: int = 1
    most: int = 1


def count_of(text: str) -> Count:
    """Read what is typed: ``2``, or the fewest and the most, ``2:10``.

    Raises:
        SettingsError: If it is no number of replicas.
    """
    found = _COUNT.fullmatch(text)
    least = int(found[1]) if found else 0
    most = int(found[2] or least) if found else 0
    if not 1 <= least <= most:
        msg = f"--replicas cannot be {text!r}: write a number, such as 2, or the fewest and the most, such as 2:10."
        raise SettingsError(msg, setting="replicas", value=text)
    return Count(least, most)
