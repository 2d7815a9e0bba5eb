"""How far a dataset has drifted: the population stability index of its columns.

The index compares the shares of two samples in the same bins, here the deciles of the earlier one: the sum of
(now - before) * ln(now / before). It is the measure of N. Siddiqi, Credit Risk Scorecards (Wiley, 2006): below 0.1
nothing has changed, above 0.25 much has.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

_LEAST = 0.005  # in place of a share of nothing, whose logarithm there is not: half of what percentiles can tell


def drift(before: str, now: str) -> tuple[str, float] | None:
    """Compare two profiles that `Dataset(profile=True)` logged.

    Args:
        before: The earlier one, as JSON.
        now: The later one.

    Returns:
        The column that has drifted most, and its index; None if they have no column in common.
    """
    earlier, later = _columns(before), _columns(now)
    found = {name: _index(earlier[name], later[name]) for name in earlier if name in later}
    return max(found.items(), key=lambda item: item[1]) if found else None


def is_profiled(profile: str) -> bool:
    """Tell whether a profile tells how the values are spread."""
    return bool(_columns(profile))


def _columns(profile: str) -> Mapping[str, Mapping[str, Any]]:
    try:
        columns = json.loads(profile).get("distribution", {})
    except (ValueError, AttributeError):
        return {}
    return columns if isinstance(columns, dict) else {}


def _index(before: Mapping[str, Any], now: Mapping[str, Any]) -> float:
    edges = sorted(set(before["percentiles"][::10]))
    pairs = zip(_shares(before, edges), _shares(now, edges), strict=True)
    return stability_index(pairs, _LEAST)


def stability_index(shares: Iterable[tuple[float, float]], least: float) -> float:
    """Return the population stability index of the shares that two samples have in the same bins.

    Args:
        shares: Of each bin the earlier share, and the later.
        least: What stands in place of a share of nothing, whose logarithm there is not.
    """
    floored = ((max(before, least), max(now, least)) for before, now in shares)
    return sum((now - before) * math.log(now / before) for before, now in floored)


def _shares(column: Mapping[str, Any], edges: Sequence[float]) -> list[float]:
    """Give the share of what is missing, below all edges, between them, and above."""
    points, missing = column["percentiles"], column["missing"]
    if not edges:  # nothing was there before
        return [missing, 1 - missing]
    bounds = [bisect_left(points, edges[0]), *(bisect_right(points, edge) for edge in edges), len(points)]
    counts = [bounds[0], *(after - until for until, after in pairwise(bounds))]
    return [missing, *(count / max(1, len(points)) * (1 - missing) for count in counts)]
