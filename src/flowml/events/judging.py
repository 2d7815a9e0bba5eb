"""Judges a finished flow run by what deployments ask for: metrics beyond a limit, datasets that changed or drifted.

Prefect's automations match labels and cannot compare numbers. So a trigger carries its limit as a label, flowml reads
the labels, compares, and tells of an event with the very label that the automation waits for.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from flowml.events import drift, limits, names
from flowml.events.limits import Asked
from flowml.events.names import Event
from flowml.store import reading
from flowml.store.notifications import Notification
from flowml.store.reading import LoggedDataset

_ABOUT_DATASETS = {names.DATASET_CHANGED: "changed", names.DATASET_DRIFTED: "drifted"}
_logger = logging.getLogger("prefect.flowml")


def judged(
    notification: Notification, payload: Mapping[str, Any], related: tuple[Mapping[str, str], ...]
) -> Iterator[Event]:
    """Compare a finished flow run with what is asked for, each thing once.

    Args:
        notification: Of the run's end.
        payload: What is told of it in any case.
        related: What else it has to do with.
    """
    if notification.facts["status"] != "FINISHED":
        return
    attempt = f"{notification.run_id} {notification.tags.get('flowml.attempt', '1')}"
    flow = names.label(notification.tags.get("prefect.flow_name", ""))
    asked = limits.asked({names.METRIC_BREACHED, *_ABOUT_DATASETS})
    mine = {
        (one.event, one.labels[names.ID], one.labels[names.LIMIT]): one
        for one in asked
        if names.ID in one.labels and names.LIMIT in one.labels and one.labels.get(names.FLOW, flow) == flow
    }
    metrics = cache(lambda: reading.metrics_of(notification))
    datasets = cache(lambda name: reading.dataset_of(notification, name))
    for one in mine.values():
        beyond = _breach(one, metrics) if one.event == names.METRIC_BREACHED else _change(one, datasets)
        if beyond:
            about = {key: one.labels[key] for key in (names.ID, names.LIMIT)}
            about |= {names.NAME: str(beyond.get("metric") or beyond.get("dataset")), names.FLOW: flow}
            about |= {names.DEPLOYMENT: notification.tags.get("prefect.deployment_id", names.NOBODY)}
            same = f"{attempt} {one.labels[names.ID]} {one.labels[names.LIMIT]}"
            yield Event(one.event, about, {**payload, **beyond}, related, same)


def limit(below: float | None, above: float | None) -> str:
    """Write a limit as a label: "below 0.9 or above 1.1"."""
    sides = {"below": below, "above": above}
    return " or ".join(f"{side} {float(value)!r}" for side, value in sides.items() if value is not None)


def _breach(one: Asked, metrics: Callable[[], Mapping[str, float]]) -> Mapping[str, Any] | None:
    name = names.unlabel(one.labels[names.ID].removeprefix(names.metric("")))
    value = metrics().get(name)
    sides = {side: float(number) for side, number in re.findall(r"(below|above) (\S+)", one.labels[names.LIMIT])}
    if value is None or not sides:
        return None
    is_beyond = value < sides.get("below", -math.inf) or value > sides.get("above", math.inf) or math.isnan(value)
    # JSON has no NaN
    return {"metric": name, "value": value if math.isfinite(value) else str(value), **sides} if is_beyond else None


def _change(
    one: Asked, datasets: Callable[[str], tuple[LoggedDataset | None, LoggedDataset | None]]
) -> Mapping[str, Any] | None:
    name = names.unlabel(one.labels[names.ID].removeprefix(names.dataset("")))
    now, before = datasets(name)
    if now is None or before is None:
        return None
    told = {"dataset": name, "digest": now.digest, "digest_before": before.digest, "run_id_before": before.run_id}
    if one.event == names.DATASET_CHANGED:
        return told if now.digest != before.digest else None
    if not drift.is_profiled(now.profile):
        msg = "OnDataset(%r) cannot see a drift: annotate what makes it with Dataset(%r, profile=True)."
        _logger.warning(msg, name, name)
        return None
    found = drift.drift(before.profile, now.profile)
    most = float(one.labels[names.LIMIT].rpartition(" ")[2])
    if found is None or found[1] <= most:
        return None
    return {**told, "column": found[0], "drift": round(found[1], 4), "limit": most}
