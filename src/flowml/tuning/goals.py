"""Which metrics count, in which direction, and what a trial returned of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowml.describe.metrics import as_number
from flowml.errors import TuningError, listed, nearest
from flowml.registry.rules import AtLeast, AtMost


class NoMetricError(TuningError):
    """A trial ended without a metric that counts: all others would, too."""


@dataclass(frozen=True, slots=True)
class Goals:
    """What a search is for.

    Attributes:
        names: The metrics, those to be maximized first.
        directions: Of each, ``maximize`` or ``minimize``.
        constraints: What a trial has to meet beside.
    """

    names: tuple[str, ...]
    directions: tuple[str, ...]
    constraints: tuple[AtLeast | AtMost, ...] = ()

    @property
    def single(self) -> str | None:
        """The metric, where there is one."""
        return self.names[0] if len(self.names) == 1 else None

    def told(self) -> list[str]:
        """Return them as text."""
        pairs = zip(self.directions, self.names, strict=True)
        return [*(f"{direction} {name}" for direction, name in pairs), *map(str, self.constraints)]

    def wanted(self) -> list[str]:
        """Return the names of all metrics that a trial is asked for."""
        return list(dict.fromkeys([*self.names, *(rule.metric for rule in self.constraints)]))

    def read(self, returned: Any, logged: Mapping[str, float]) -> dict[str, float]:
        """Find the metrics in what a trial returned or, failing that, logged.

        Args:
            returned: A number, where one metric counts; a mapping with the metrics; or a tuple that holds one of these,
                such as ``(model, {"auc": 0.9})``.
            logged: The last value of each metric that the trial logged.

        Raises:
            NoMetricError: If one is nowhere.
        """
        told: dict[str, float] = {}
        for mapping in _mappings(returned):
            told |= {str(key): point for key, value in mapping.items() if (point := as_number(value)) is not None}
        if self.single and self.single not in told and (point := _lone_number(returned)) is not None:
            told[self.single] = point
        known = {**logged, **told}
        for name in self.wanted():
            if name not in known:
                msg = (
                    f"The trial has no metric {name!r}{nearest(name, known)}. It returned {type(returned).__name__}, "
                    f"and its metrics are: {listed(known)}. Return a mapping with {name!r} in it, log it by "
                    f"flowml.log({_as_argument(name)}), or name another in maximize= or minimize=."
                )
                raise NoMetricError(msg)
        return {name: known[name] for name in self.wanted()}

    def values(self, found: Mapping[str, float]) -> list[float]:
        """Return the values that Optuna is told, in its order."""
        return [found[name] for name in self.names]

    def excess(self, found: Mapping[str, float]) -> dict[str, float]:
        """Return by how much each constraint is missed; at most 0 if it is met."""
        return {
            str(rule): found[rule.metric] - rule.limit if isinstance(rule, AtMost) else rule.limit - found[rule.metric]
            for rule in self.constraints
        }

    def is_nan(self, found: Mapping[str, float]) -> bool:
        """Tell whether one of them is no number."""
        return any(math.isnan(value) for value in found.values())


def goals_of(maximize: str | Sequence[str], minimize: str | Sequence[str], constraints: Sequence[Any]) -> Goals:
    """Read what the user asks for.

    Raises:
        TuningError: If it is nothing, or something twice.
        TypeError: If something has the wrong type.
    """
    up, down = _names("maximize", maximize), _names("minimize", minimize)
    if not (up or down):
        msg = 'tune() does not know what is better. Name a metric: maximize="auc" or minimize="loss".'
        raise TuningError(msg)
    names = [*up, *down]
    if twice := next((name for name in names if names.count(name) > 1), None):
        msg = f"The metric {twice!r} is named twice in maximize={maximize!r} and minimize={minimize!r}."
        raise TuningError(msg)
    rules = [constraints] if isinstance(constraints, AtLeast | AtMost) else list(constraints)
    for rule in rules:
        if not isinstance(rule, AtLeast | AtMost) or rule.where is not None:
            msg = f'tune(constraints=...) takes a list of AtMost("seconds", 2.0) and AtLeast(...), not {rule!r}.'
            raise TypeError(msg)
    return Goals(tuple(names), ("maximize",) * len(up) + ("minimize",) * len(down), tuple(rules))


def _names(option: str, given: Any) -> list[str]:
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [None]
    if not all(isinstance(name, str) for name in names):
        msg = f"tune({option}=...) takes the name of a metric or a list of names, not {given!r}."
        raise TypeError(msg)
    return [name for name in names if name]


def _mappings(returned: Any) -> Iterator[Mapping[Any, Any]]:
    if isinstance(returned, Mapping):
        yield returned
    elif isinstance(returned, tuple) and hasattr(returned, "_asdict"):
        yield returned._asdict()
    elif isinstance(returned, tuple | list):
        for each in returned:
            if isinstance(each, Mapping):
                yield each
    elif dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        yield {each.name: getattr(returned, each.name) for each in dataclasses.fields(returned)}


def _lone_number(returned: Any) -> float | None:
    parts = returned if isinstance(returned, tuple | list) else [returned]
    found = [point for each in parts if (point := as_number(each)) is not None]
    return found[0] if len(found) == 1 else None


def _as_argument(name: str) -> str:
    return f"{name}=..." if name.isidentifier() else f"**{{{name!r}: ...}}"
