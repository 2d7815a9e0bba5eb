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

from flowml.events import drift, thresholds, vocabulary
from flowml.events.thresholds import Asked
from flowml.events.vocabulary import Event
from flowml.store.backend.notifications import Notification
from flowml.store.flow_end import reading
from flowml.store.flow_end.reading import LoggedDataset

_ABOUT_DATASETS = {vocabulary.DATASET_CHANGED: "changed", vocabulary.DATASET_DRIFTED: "drifted"}
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
    flow = vocabulary.label(notification.tags.get("prefect.flow_name", ""))
    wanted = thresholds.asked_for({vocabulary.METRIC_BREACHED, *_ABOUT_DATASETS})
    mine = {
        (one.event, one.labels[vocabulary.ID], one.labels[vocabulary.LIMIT]): one
        for one in wanted
        if vocabulary.ID in one.labels
        and vocabulary.LIMIT in one.labels
        and one.labels.get(vocabulary.FLOW, flow) == flow
    }
    metrics = cache(lambda: reading.metrics_of(notification))
    datasets = cache(lambda name: reading.dataset_of(notification, name))
    for one in mine.values():
        beyond = _breach(one, metrics) if one.event == vocabulary.METRIC_BREACHED else _change(one, datasets)
        if beyond:
            about = {key: one.labels[key] for key in (vocabulary.ID, vocabulary.LIMIT)}
            about |= {vocabulary.NAME: str(beyond.get("metric") or beyond.get("dataset")), vocabulary.FLOW: flow}
            about |= {vocabulary.DEPLOYMENT: notification.tags.get("prefect.deployment_id", vocabulary.NOBODY)}
            same = f"{attempt} {one.labels[vocabulary.ID]} {one.labels[vocabulary.LIMIT]}"
            yield Event(one.event, about, {**payload, **beyond}, related, same)


def limit(below: float | None, above: float | None) -> str:
    """Write a limit as a label: "below 0.9 or above 1.1"."""
    sides = {"below": below, "above": above}
    return " or ".join(f"{side} {float(value)!r}" for side, value in sides.items() if value is not None)


def _breach(one: Asked, metrics: Callable[[], Mapping[str, float]]) -> Mapping[str, Any] | None:
    name = vocabulary.unlabel(one.labels[vocabulary.ID].removeprefix(vocabulary.metric("")))
    value = metrics().get(name)
    sides = {side: float(number) for side, number in re.findall(r"(below|above) (\S+)", one.labels[vocabulary.LIMIT])}
    if value is None or not sides:
        return None
    is_beyond = value < sides.get("below", -math.inf) or value > sides.get("above", math.inf) or math.isnan(value)
    # JSON has no NaN
    return {"metric": name, "value": value if math.isfinite(value) else str(value), **sides} if is_beyond else None


def _change(
    one: Asked, datasets: Callable[[str], tuple[LoggedDataset | None, LoggedDataset | None]]
) -> Mapping[str, Any] | None:
    name = vocabulary.unlabel(one.labels[vocabulary.ID].removeprefix(vocabulary.dataset("")))
    now, before = datasets(name)
    if now is None or before is None:
        return None
    payload = {"dataset": name, "digest": now.digest, "digest_before": before.digest, "run_id_before": before.run_id}
    if one.event == vocabulary.DATASET_CHANGED:
        return payload if now.digest != before.digest else None
    if not drift.is_profiled(now.profile):
        msg = "OnDataset(%r) cannot see a drift: annotate what makes it with Dataset(%r, profile=True)."
        _logger.warning(msg, name, name)
        return None
    drifted = drift.drift(before.profile, now.profile)
    most = float(one.labels[vocabulary.LIMIT].rpartition(" ")[2])
    if drifted is None or drifted[1] <= most:
        return None
    return {**payload, "column": drifted[0], "drift": round(drifted[1], 4), "limit": most}
