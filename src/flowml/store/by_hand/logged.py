"""What the user's code does by hand with MLflow below one outermost call: it is not logged again, and never lost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from flowml import records
from flowml.store.usage.spent import Spent

T = TypeVar("T")
_MOST = 100_000  # metrics of one outermost call that are remembered


class ByHand(Generic[T]):
    """What the sessions of one outermost call in this process share.

    Attributes:
        left: Runs that tasks left open, for the tasks after them.
        runs: The ids of the runs that the user's code opened.
        metrics: What was logged to those runs.
        experiment_named: What named MLflow's experiment before the call, by which a later choice is seen.
    """

    def __init__(self, experiment_named: object) -> None:
        self.experiment_named = experiment_named
        self.left: list[T] = []
        self.runs: set[str] = set()
        self.metrics: set[tuple[str, float | None]] = set()
        self._said: set[str] = set()

    def say_once(self, what: str, text: str, say: Callable[[str], None]) -> None:
        """Tell the user something, the first time that it happens below this outermost call."""
        if what not in self._said:
            self._said.add(what)
            say(text)


class Logged:
    """What the user's code has logged by hand inside one call, to whichever run, and what its spans used."""

    def __init__(self) -> None:
        self.metrics: set[tuple[str, float | None]] = set()
        self.latest: dict[str, float] = {}  # the last value of each metric
        self.params: dict[str, str] = {}  # to runs of the user's own
        self.own_params: dict[str, str] = {}  # to the call's own run
        self.spent = Spent()  # what it asked of language models
        self.prompts: list[Any] = []  # the versions of prompts that it was given, which its traces are linked with

    def note_prompts(self, new_records: Iterable[records.Record]) -> None:
        """Note the versions of prompts among what is logged."""
        given = [each.value for each in new_records if isinstance(each, records.PromptInput) and each.value is not None]
        self.prompts += [each for each in given if each not in self.prompts]

    def __bool__(self) -> bool:
        return bool(self.params or self.own_params)

    def note(
        self, metrics: Iterable[tuple[str, float]], params: Iterable[tuple[str, str]], by_hand: ByHand[T], run_id: str
    ) -> None:
        """Note what was logged to a run.

        Args:
            metrics: Names and values.
            params: Names and values.
            by_hand: What is remembered beyond this call, if the run is one that the user's code opened.
            run_id: The run.
        """
        points = list(metrics)
        self.latest.update(points)
        found, is_users = {_comparable(key, value) for key, value in points}, run_id in by_hand.runs
        if len(self.metrics) < _MOST:
            self.metrics |= found
        if is_users and len(by_hand.metrics) < _MOST:
            by_hand.metrics |= found
        (self.params if is_users else self.own_params).update(params)

    def names(self) -> set[str]:
        """Return the names of the metrics that were logged by hand."""
        return {key for key, _ in self.metrics}

    def has(self, record: records.Record, by_hand: ByHand[T] | None) -> bool:
        """Tell whether a metric of the same name and value was logged by hand already."""
        if not isinstance(record, records.Metric):
            return False
        this = _comparable(record.key, record.value)
        return this in self.metrics or (by_hand is not None and this in by_hand.metrics)


def _comparable(key: str, value: float) -> tuple[str, float | None]:
    return key, None if math.isnan(value) else value  # NaN is not equal to itself


class HeldParams:
    """Parameters that a flow with retries logs by hand to its own run: kept until the attempt that counts has ended.

    MLflow takes one value for a parameter, and a flow's attempts share a run. The last value has the plain name; those
    of earlier attempts stand beside it, as ``seed.attempt_1``.
    """

    def __init__(self) -> None:
        self.attempt = 1
        self._values: dict[str, tuple[int, str]] = {}
        self._earlier: dict[str, str] = {}

    def take(self, key: str, value: str) -> bool:
        """Take a value; false if this very attempt has logged another one, which MLflow is to refuse itself."""
        attempt, before = self._values.get(key, (self.attempt, value))
        if before != value:
            if attempt == self.attempt:
                return False
            self._earlier[f"{key}.attempt_{attempt}"] = before
        self._values[key] = self.attempt, value
        return True

    def give(self, key: str) -> str | None:
        """Give up the value of a parameter."""
        return self._values.pop(key, (0, None))[1]

    def values(self) -> dict[str, str]:
        """Return the values that are kept, by name."""
        return {key: value for key, (_, value) in self._values.items()}

    def records(self) -> list[records.Record]:
        """Return what is to be logged at the end, and keep nothing."""
        values = self._earlier | self.values()
        self._earlier, self._values = {}, {}
        return [records.Param(key, value) for key, value in values.items()]
