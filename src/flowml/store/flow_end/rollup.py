"""The metrics of what a flow called, as metrics of its own run; and what tells the calls of one task apart."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from flowml import records
from flowml.storable import legal_key
from flowml.store.flow_end.child_runs import EACH, ChildRun, last_attempts, repeated
from flowml.store.flow_end.summary import name_above, summary

SYSTEM, PEAK = "system/", "peak_"
"""What the metrics of the machine begin with; of those that tell of a peak, the last part of the name."""

_LONGEST = 80  # characters of a label: a classifier with two settings fits
_MOST_PARTS = 3  # arguments in a label
_BY_CHANCE = re.compile(r"-[0-9a-f]{3,}\Z")  # how Prefect ends the name of a task run that has no other
# A metric named by a day or an id is another one each night: nobody could compare them.
_PASSING = re.compile(r"\d{4}-?\d{2}-?\d{2}|\d{2}:\d{2}|[0-9a-f]{8}-[0-9a-f]{4}-|[0-9a-f]{16}", re.IGNORECASE)


def labels(children: Sequence[ChildRun]) -> Mapping[str, str]:
    """Tell the calls of one task or flow apart by the arguments that differ.

    Args:
        children: The calls, each once or more often.

    Returns:
        What differs, such as ``ridge`` or ``alpha=0.1``, by the id of each call that can be told apart so.
    """
    found: dict[str, str] = {}
    for calls in repeated(children):
        group = last_attempts(calls)
        arguments = [_arguments(child.owner, child.params) for child in group]
        found |= zip([child.id for child in group], _apart(arguments), strict=False)
    return found


def renamed(child: ChildRun, label: str | None) -> str:
    """Return what a call is called: what tells it apart, where its task's run got its name by chance."""
    is_by_chance = not child.is_flow and not child.by_hand and _BY_CHANCE.sub("", child.name) == child.owner
    return f"{child.owner} {label}" if label and is_by_chance else child.name


def rolled_up(children: Iterable[ChildRun], labels: Mapping[str, str]) -> list[records.Metric]:
    """Return the last metrics of the children that finished, as ``<task>.<metric>``.

    Of several calls of one task each has its own, as ``<task>.<label>.<metric>``, if there are at most twenty and they
    can be told apart by more than a number that counts them; else there is their `summary`. Results that came from a
    cache are counted, as ``<task>.cached``.
    Of what was sampled of the machine the flow has the highest peak, under the same name.
    """
    found: defaultdict[str, list[tuple[ChildRun, float]]] = defaultdict(list)
    cached: Counter[str] = Counter()
    peaks: dict[str, float] = {}
    for child in children:
        if child.status != "FINISHED":
            continue
        if child.cached:
            cached[f"{legal_key(child.owner)}.cached"] += 1
        for key, value in child.metrics.items():
            if key.startswith(SYSTEM):
                if key.rpartition("/")[2].startswith(PEAK):
                    peaks[key] = max(value, peaks.get(key, value))
                continue
            found[name_above(child.owner, key, child.metrics)].append((child, value))
    metrics = [metric for name, values in found.items() for metric in _metrics(name, values, labels)]
    metrics += [records.Metric(name, float(count)) for name, count in cached.items()]
    return metrics + [records.Metric(name, value) for name, value in peaks.items()]


def _metrics(name: str, values: Sequence[tuple[ChildRun, float]], labels: Mapping[str, str]) -> list[records.Metric]:
    numbers = [value for _, value in values]
    if len(values) == 1:
        return [records.Metric(name, numbers[0])]
    told_apart = [labels.get(child.id, "") for child, _ in values]
    names = [
        each
        for (child, _), label in zip(values, told_apart, strict=True)
        if (each := _named(child.owner, name, label)) is not None
    ]
    if _are_counted(told_apart) or len(set(names)) < len(values) or len(values) > EACH:
        return summary(name, numbers)
    return [records.Metric(each, value) for each, value in zip(names, numbers, strict=True)]


def _are_counted(labels: Sequence[str]) -> bool:
    """Tell repetitions, such as folds, which differ by a number that counts them: of these the spread is wanted."""
    parts = [label.rpartition("=") for label in labels]
    numbers = sorted(int(number) for _, _, number in parts if number.isdecimal())
    return len({name for name, _, _ in parts}) == 1 and numbers in (
        list(range(len(labels))),
        list(range(1, len(labels) + 1)),
    )


def _named(task: str, name: str, label: str) -> str | None:
    """Put a label into a metric's name, after the task's; None where there is none, or none that lasts."""
    part = " ".join(re.findall(r"[\w.\-]+", label)).strip(".")
    if not part or _PASSING.search(label):
        return None
    owner = legal_key(task)
    return legal_key(f"{owner}.{part}{name.removeprefix(owner)}")


def _arguments(owner: str, params: Mapping[str, str]) -> Mapping[str, str]:
    """Return the parameters that tell what a call was given, not what it returned."""
    return {key: value for key, value in params.items() if key != "return" and not key.startswith(f"{owner}.")}


def _apart(calls: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a label for each call, by as few arguments as possible; nothing if none do it."""
    shared = [key for key in calls[0] if all(key in call for call in calls)]
    differing = [key for key in shared if len({call[key] for call in calls}) > 1]
    # An argument before a part of one, then what is short to say.
    differing.sort(key=lambda key: (key.count("."), sum(len(call[key]) for call in calls), key))
    for size in range(1, _MOST_PARTS + 1):
        for keys in combinations(differing[:10], size):
            found = [_label({key: call[key] for key in shared if key in keys}) for call in calls]
            if len(set(found)) == len(found) and all(found):
                return found
    return []


def _label(arguments: Mapping[str, str]) -> str:
    text = " ".join(f"{key}={value}" if _says_little(value) else value for key, value in arguments.items())
    return text[:_LONGEST].strip()


def _says_little(value: str) -> bool:
    return value in {"True", "False", "None", ""} or re.fullmatch(r"[-+.\d]+(e[-+]?\d+)?", value) is not None
