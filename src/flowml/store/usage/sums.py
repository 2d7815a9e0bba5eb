"""Tokens and cost, by model: summed exactly, written to a run's tags and read from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal, InvalidOperation

from flowml import formats, mlflow_limits, records

TAG = "flowml.usage"
"""The tag with what a run used, and what was called in it; parts of it that come one by one are below this name."""

OWN = f"{TAG}.own"
"""The tag with what a flow's body used itself."""

INPUT, OUTPUT, CACHED, COST = "tokens_input", "tokens_output", "tokens_cached", "cost_usd"
METRICS = (INPUT, OUTPUT, CACHED, COST)
"""The metrics of a run that has asked a language model."""

_UNNAMED = "unnamed model"
_OTHERS = "other models"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one model, or of one of its answers.

    Attributes:
        calls: How many answers they are of.
        input: Tokens that it was given, those from a cache included.
        output: Tokens that it answered.
        cached: Those of the input that the provider had in its cache.
        written: Those of the input that it put into its cache.
        cost: What they cost, in US dollars; None if a price is unknown.
    """

    calls: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    written: int = 0
    cost: Decimal | None = Decimal(0)

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.calls + other.calls,
            self.input + other.input,
            self.output + other.output,
            self.cached + other.cached,
            self.written + other.written,
            None if self.cost is None or other.cost is None else self.cost + other.cost,
        )

    def times(self, count: int) -> Tokens:
        """Return so many of them."""
        cost = None if self.cost is None else count * self.cost
        numbers = (self.calls, self.input, self.output, self.cached, self.written)
        calls, given, answered, cached, written = (count * number for number in numbers)
        return Tokens(calls, given, answered, cached, written, cost)


@dataclass(frozen=True, slots=True)
class Usage:
    """What was asked of language models.

    Attributes:
        models: Tokens and cost, by the model's name.
    """

    models: Mapping[str, Tokens] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.models)

    def __add__(self, other: Usage) -> Usage:
        names = [*self.models, *(name for name in other.models if name not in self.models)]
        nothing = Tokens()
        return Usage({name: self.models.get(name, nothing) + other.models.get(name, nothing) for name in names})

    @property
    def total(self) -> Tokens:
        """All models together; the cost is None if that of one is unknown."""
        return sum(self.models.values(), Tokens())

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The models whose price is unknown."""
        return tuple(name for name, tokens in self.models.items() if tokens.cost is None)

    @property
    def known_cost(self) -> Decimal:
        """What those cost whose price is known."""
        return sum((tokens.cost for tokens in self.models.values() if tokens.cost is not None), Decimal(0))

    def metrics(self) -> dict[str, float]:
        """Return it as metrics, of all models together; without the cost, if that of one is unknown."""
        total = self.total
        values = {INPUT: total.input, OUTPUT: total.output, CACHED: total.cached, COST: total.cost}
        return {name: float(value) for name, value in values.items() if value is not None}

    def records(self, tag: str = TAG, *, without: Iterable[str] = ()) -> list[records.Record]:
        """Return what a run keeps of it.

        Args:
            tag: Which tag holds it.
            without: Metrics that are the user's own.
        """
        taken = set(without)
        metrics = [records.Metric(key, value) for key, value in self.metrics().items() if key not in taken]
        return [*metrics, records.Tag(tag, self.as_text())]

    def as_data(self) -> dict[str, dict[str, object]]:
        """Return it as plain values, by model; an unknown cost is None, a known one text, which is exact."""
        return {name: _written(tokens) for name, tokens in self.models.items()}

    def as_text(self) -> str:
        """Write it as JSON that fits into a tag: of very many models the last are summed up."""
        kept = dict(self.models)
        while len(text := json.dumps(Usage(kept).as_data())) > mlflow_limits.TAG:
            last = [name for name in kept if name != _OTHERS][-1]
            kept[_OTHERS] = kept.pop(last) + kept.pop(_OTHERS, Tokens())
        return text

    def __str__(self) -> str:
        """Tell it in a line: ``1,204 tokens in (300 cached), 96 out, $0.0123``."""
        total = self.total
        cached = f" ({total.cached:,} cached)" if total.cached else ""
        return f"{total.input:,} tokens in{cached}, {total.output:,} out, {self.cost_text}"

    @property
    def cost_text(self) -> str:
        """Tell what it cost: ``$0.0123``, or what of it is unknown."""
        if not self.unpriced:
            return dollars(self.known_cost)
        names = ", ".join(self.unpriced)
        more = f"{dollars(self.known_cost)} and " if self.known_cost else ""
        return f"{more}cost unknown (no price for {names})"


def named(model: str | None) -> str:
    """Name a model, also one that the span does not name."""
    return " ".join(model.split())[:200] if model and model.strip() else _UNNAMED


def dollars(cost: Decimal) -> str:
    """Write an amount with the digits that matter."""
    return f"${formats.number(float(cost))}" if cost < 1 else f"${cost:,.2f}"


def in_tags(tags: Mapping[str, str]) -> Usage:
    """Read what a run used: the whole of it where it is summed up, else its parts."""
    if TAG in tags:
        return read(tags[TAG])
    return parts_in(tags)


def parts_in(tags: Mapping[str, str]) -> Usage:
    """Read the parts that a run was told one by one: its own, and those that other processes told."""
    return sum((read(text) for key, text in tags.items() if key.startswith(f"{TAG}.")), Usage())


def read(text: str) -> Usage:
    """Read what `Usage.as_text` wrote; anybody can change a tag, and what is no usage is nothing."""
    try:
        told = json.loads(text)
        return Usage({str(name): _read(value) for name, value in told.items()})
    except (ValueError, TypeError, AttributeError, InvalidOperation):
        return Usage()


def _written(tokens: Tokens) -> dict[str, object]:
    told = {name: value for name, value in asdict(tokens).items() if value or name in {"input", "output"}}
    return told | {"cost": None if tokens.cost is None else f"{tokens.cost.normalize():f}"}


def _read(told: Mapping[str, object]) -> Tokens:
    cost = told.get("cost")
    names = ("calls", "input", "output", "cached", "written")
    calls, given, answered, cached, written = (int(str(told.get(name, 0))) for name in names)
    return Tokens(calls, given, answered, cached, written, None if cost is None else Decimal(str(cost)))
