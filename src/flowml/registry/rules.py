"""What a gate asks of a candidate: rules about one metric, on all rows or on some."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from flowml.errors import nearest
from flowml.formats import number

if TYPE_CHECKING:
    from typing_extensions import Self

_ANY = math.inf
_NOISE = 1e-12  # of floating point: 0.3 - 0.1 is a little less than 0.2


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric of two models on the same rows.

    Attributes:
        candidate: The candidate's value.
        champion: The champion's; None if there is no champion.
        higher_is_better: Whether a higher value is better.
        interval: Between what the difference is, by resampling; None if that was not asked for.
    """

    candidate: float
    champion: float | None
    higher_is_better: bool
    interval: tuple[float, float] | None = None

    @property
    def difference(self) -> float | None:
        """The candidate's value less the champion's."""
        return None if self.champion is None else self.candidate - self.champion

    @property
    def gain(self) -> float:
        """By how much the candidate is better; negative if it is worse."""
        difference = self.difference or 0.0
        return difference if self.higher_is_better else -difference

    @property
    def least_gain(self) -> float | None:
        """The end of the interval that is worse for the candidate."""
        if self.interval is None:
            return None
        low, high = self.interval
        return low if self.higher_is_better else -high


@dataclass(frozen=True)
class Rule:
    """Something that a gate asks about one metric.

    Attributes:
        metric: The metric's name.
        where: Which rows it is about, as a pandas query; None for all.
    """

    metric: str
    where: str | None = field(default=None, kw_only=True)

    is_relative: ClassVar[bool] = False
    """Whether it compares with the champion, so that it does not apply where there is none."""

    confidence: ClassVar[float] = 0.95
    """How sure the interval is that its evidence shows."""

    def __new__(cls, *_: object, **options: object) -> Self:
        """Refuse options that do not exist, and say which do."""
        allowed = [each.name for each in dataclasses.fields(cls)]
        for name in options:
            if name not in allowed:
                msg = f"{cls.__name__} has no option {name!r}{nearest(name, allowed)}; it takes {', '.join(allowed)}."
                raise TypeError(msg)
        return object.__new__(cls)

    def __post_init__(self) -> None:
        self._check_text("metric", self.metric, 'the name of a metric, such as "roc_auc"')
        if self.where is not None:
            self._check_text("where", self.where, 'a pandas query, such as "age > 60"')

    def __str__(self) -> str:
        """Return it as it is written in code."""
        found = sorted(dataclasses.fields(self), key=lambda each: each.default is not dataclasses.MISSING)
        shown = [
            _in_code(value) if each.default is dataclasses.MISSING else f"{each.name}={_in_code(value)}"
            for each in found
            if (value := getattr(self, each.name)) != each.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def judge(self, measured: Measured) -> tuple[bool, str]:
        """Tell whether it is met, and why.

        Args:
            measured: The metric on the rule's rows; with a champion, if the rule is relative.
        """
        raise NotImplementedError

    def _check_text(self, option: str, value: object, allowed: str) -> None:
        if not isinstance(value, str) or not value.strip():
            msg = f"{type(self).__name__}({option}=...) takes {allowed}, not {value!r}."
            raise TypeError(msg) if not isinstance(value, str) else ValueError(msg)

    def _check_number(self, option: str, value: Any, allowed: str, least: float = -_ANY, most: float = _ANY) -> None:
        msg = f"{type(self).__name__}({option}=...) takes {allowed}, not {value!r}."
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(msg)
        if not math.isfinite(value) or not least <= value <= most:
            raise ValueError(msg)


@dataclass(frozen=True)
class _Limit(Rule):
    """A rule about the candidate alone."""

    limit: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_number("limit", self.limit, "a number")


@dataclass(frozen=True)
class AtLeast(_Limit):
    """The metric is no lower than a limit; asked of the first model, too.

    Args:
        metric: The metric's name.
        limit: The lowest value that passes.
        where: Which rows it is about, as a pandas query. Default: all.

    Raises:
        TypeError: If an option does not exist or has the wrong type.
        ValueError: If an option has a value that makes no sense.

    Example:
        >>> str(AtLeast("recall", 0.9, where="age > 60"))
        'AtLeast("recall", 0.9, where="age > 60")'
    """

    def judge(self, measured: Measured) -> tuple[bool, str]:
        """Compare the candidate's value with the limit."""
        is_met = measured.candidate >= self.limit - _NOISE
        return is_met, f"{number(measured.candidate)} is {'not ' if not is_met else ''}at least {number(self.limit)}"


@dataclass(frozen=True)
class AtMost(_Limit):
    """The metric is no higher than a limit; asked of the first model, too.

    Args:
        metric: The metric's name.
        limit: The highest value that passes.
        where: Which rows it is about, as a pandas query. Default: all.

    Raises:
        TypeError: If an option does not exist or has the wrong type.
        ValueError: If an option has a value that makes no sense.

    Example:
        >>> str(AtMost("log_loss", 0.2))
        'AtMost("log_loss", 0.2)'
    """

    def judge(self, measured: Measured) -> tuple[bool, str]:
        """Compare the candidate's value with the limit."""
        is_met = measured.candidate <= self.limit + _NOISE
        return is_met, f"{number(measured.candidate)} is {'not ' if not is_met else ''}at most {number(self.limit)}"


@dataclass(frozen=True)
class Better(Rule):
    """The candidate is better than the champion.

    Args:
        metric: The metric's name.
        by: By how much at least; 0 for any difference.
        where: Which rows it is about, as a pandas query. Default: all.

    Raises:
        TypeError: If an option does not exist or has the wrong type.
        ValueError: If an option has a value that makes no sense.

    Example:
        >>> str(Better("roc_auc", by=0.002))
        'Better("roc_auc", by=0.002)'
    """

    by: float = field(default=0.0, kw_only=True)

    is_relative: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_number("by", self.by, "a number that is not negative", least=0)

    def judge(self, measured: Measured) -> tuple[bool, str]:
        """Compare the gain with what is asked."""
        is_met = measured.gain > 0 and measured.gain >= self.by - _NOISE
        asked = f", where {number(self.by)} was asked for" if self.by else ""
        return is_met, f"{_told(measured)}{asked}"


@dataclass(frozen=True)
class NotWorse(Rule):
    """The candidate is not worse than the champion, or by no more than is tolerated.

    Args:
        metric: The metric's name.
        tolerance: By how much it may be worse.
        where: Which rows it is about, as a pandas query. Default: all.

    Raises:
        TypeError: If an option does not exist or has the wrong type.
        ValueError: If an option has a value that makes no sense.

    Example:
        >>> str(NotWorse("recall", tolerance=0.01, where="age > 60"))
        'NotWorse("recall", where="age > 60", tolerance=0.01)'
    """

    tolerance: float = field(default=0.0, kw_only=True)

    is_relative: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_number("tolerance", self.tolerance, "a number that is not negative", least=0)

    def judge(self, measured: Measured) -> tuple[bool, str]:
        """Compare the loss with what is tolerated."""
        tolerated = f", where {number(self.tolerance)} is tolerated" if self.tolerance and measured.gain < 0 else ""
        return measured.gain >= -self.tolerance - _NOISE, f"{_told(measured)}{tolerated}"


@dataclass(frozen=True)
class Significant(Rule):
    """The candidate is better than the champion, and that by more than chance among the rows explains.

    The whole interval of the difference, found by drawing the rows anew many times, is better than none.

    Args:
        metric: The metric's name.
        confidence: How sure the interval is.
        where: Which rows it is about, as a pandas query. Default: all.

    Raises:
        TypeError: If an option does not exist or has the wrong type.
        ValueError: If an option has a value that makes no sense.

    Example:
        >>> str(Significant("roc_auc", confidence=0.99))
        'Significant("roc_auc", confidence=0.99)'
    """

    confidence: float = field(default=0.95, kw_only=True)  # type: ignore[misc] # here it is each rule's own

    is_relative: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_number("confidence", self.confidence, "a number from 0.5 to 0.9999, such as 0.95", 0.5, 0.9999)

    def judge(self, measured: Measured) -> tuple[bool, str]:
        """Look whether the interval holds anything but a gain."""
        least = measured.least_gain
        is_met = least is not None and least > 0
        sure = f"{number(100 * self.confidence)} % sure"
        return is_met, f"{_told(measured)}, at least {number(least)} {sure}" if is_met and least else (
            f"{_told(measured)}, which may be chance: it is not {sure} that it is better at all"
        )


def _in_code(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _told(measured: Measured) -> str:
    gain = measured.gain
    return "as good as the champion" if gain == 0 else f"{'better' if gain > 0 else 'worse'} by {number(abs(gain))}"


ALL = (AtLeast, AtMost, Better, NotWorse, Significant)
"""The rules that there are."""
