"""What a search may try: an interval, whole numbers, or choices; and whether a task takes them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from flowml.errors import TuningError, did_you_mean

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True, slots=True, repr=False)
class Float:
    """A number between two others, both among them.

    Args:
        low: The lowest.
        high: The highest.
        log: Choose by the logarithm, for what ranges over orders of magnitude.
        step: Only ``low``, ``low + step``, and so on.

    Raises:
        TypeError: If a bound is no number.
        ValueError: If there is nothing between the bounds.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        _check_bounds(self, (int, float), "a number")

    def __repr__(self) -> str:
        return _in_code(self)

    def distribution(self) -> BaseDistribution:
        """Return it as Optuna has it."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)


@dataclass(frozen=True, slots=True, repr=False)
class Int:
    """A whole number between two others, both among them.

    Args:
        low: The lowest.
        high: The highest.
        log: Choose by the logarithm.
        step: Only ``low``, ``low + step``, and so on.

    Raises:
        TypeError: If a bound is no whole number.
        ValueError: If there is nothing between the bounds.
    """

    low: int
    high: int
    log: bool = False
    step: int | None = None

    def __post_init__(self) -> None:
        _check_bounds(self, int, "a whole number")

    def __repr__(self) -> str:
        return _in_code(self)

    def distribution(self) -> BaseDistribution:
        """Return it as Optuna has it."""
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high, log=self.log, step=self.step or 1)


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Choice:
    """One of several values: text, numbers, booleans or None.

    Args:
        *options: The values.

    Raises:
        TypeError: If one is anything else, which no storage could keep.
        ValueError: If there is none.
    """

    options: tuple[str | float | bool | None, ...]

    def __init__(self, *options: str | float | bool | None) -> None:
        if not options:
            msg = 'Choice() has nothing to choose from; write the values, as in Choice("gini", "entropy").'
            raise ValueError(msg)
        for option in options:
            if not isinstance(option, str | int | float | bool | None):
                msg = (
                    f"Choice(...) takes text, numbers, booleans and None, not {option!r:.80}: a study keeps what it "
                    "tried. Choose by a name, and look the thing up in your task."
                )
                raise TypeError(msg)
        object.__setattr__(self, "options", options)

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(repr, self.options))})"

    def distribution(self) -> BaseDistribution:
        """Return it as Optuna has it."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.options)


Dimension: TypeAlias = Float | Int | Choice
SpaceFunction: TypeAlias = "Callable[[Trial], Mapping[str, Any]]"


@dataclass(frozen=True, slots=True)
class Space:
    """All that is tried, and how a task is called with it.

    Attributes:
        dimensions: What each argument is chosen from, by its name.
        function: Returns more arguments for one trial, where what is tried depends on what was chosen before.
    """

    dimensions: Mapping[str, Dimension]
    function: SpaceFunction | None = None

    def told(self) -> dict[str, str]:
        """Return it as text by name, as it is written in code."""
        found = {name: repr(dimension) for name, dimension in self.dimensions.items()}
        return found | ({"(function)": "space="} if self.function else {})

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return what Optuna is asked for."""
        return {name: dimension.distribution() for name, dimension in self.dimensions.items()}

    def params(self, trial: Trial) -> dict[str, Any]:
        """Return the arguments of one trial.

        Raises:
            TuningError: If the function failed, or returned something else.
        """
        found = {name: trial.params[name] for name in self.dimensions}
        if self.function is None:
            return found
        try:
            more = self.function(trial)
        except Exception as error:
            msg = f"The function in space= failed: {type(error).__name__}: {error}"
            raise TuningError(msg) from error
        if not isinstance(more, Mapping):
            msg = f"The function in space= returned {more!r:.80}; it is to return the task's arguments by name."
            raise TuningError(msg)
        return {**found, **more}

    def check(self, fn: Callable[..., Any], args: tuple[Any, ...], given: Mapping[str, Any], options: set[str]) -> None:
        """Make sure that a task can be called with this, before anything is begun.

        Args:
            fn: The task's function.
            args: What all trials are given.
            given: The same, by name.
            options: The names of the options of the search, one of which may have been misspelt.

        Raises:
            TuningError: If an argument is missing, unknown, or there twice.
        """
        names = {*self.dimensions, *given}
        if self.function is not None:
            import optuna

            # A study in memory, asked once: the names are known then, and nothing is kept.
            quiet = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), storage=_in_memory())
            names |= set(self.params(quiet.ask(self.distributions())))
        if not self.dimensions and self.function is None:
            msg = "tune() has nothing to try. Give an argument as Float(...), Int(...) or Choice(...), or space=."
            raise TuningError(msg)
        check_call(fn, args, names, options)


def check_call(fn: Callable[..., Any], args: tuple[Any, ...], names: set[str], options: set[str]) -> None:
    """Make sure that a function can be called with arguments of these names.

    Raises:
        TuningError: If one is missing, unknown, or there twice.
    """
    signature = inspect.signature(fn)
    parameters = signature.parameters
    called = getattr(fn, "__name__", repr(fn))
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    keyword = {
        name for name, each in parameters.items() if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}
    }
    for name in sorted(names - keyword):
        if not takes_any:
            asked = did_you_mean(name, [*keyword, *sorted(options)])
            text = f"{called} takes no argument {name!r}, and it is no option of tune(). {called}{signature}. {asked}"
            raise TuningError(text.rstrip())
    try:
        bound = signature.bind_partial(*args)
    except TypeError as error:
        msg = f"{called}{signature} cannot be called with the {len(args)} values that tune() was given: {error}."
        raise TuningError(msg) from None
    if twice := sorted(names & set(bound.arguments)):
        msg = f"{called} is given {twice[0]!r} twice: by position, and by name."
        raise TuningError(msg)
    required = [
        name
        for name, each in parameters.items()
        if each.default is each.empty and each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}
    ]
    if missing := [name for name in required if name not in names and name not in bound.arguments]:
        msg = (
            f"{called} needs {missing[0]!r}, which is neither tried nor given. Write {missing[0]}=Float(...), "
            f"Int(...), Choice(...) or a value in tune(...)."
        )
        raise TuningError(msg)


def _in_memory() -> Any:
    from optuna.storages import InMemoryStorage

    return InMemoryStorage()


def _in_code(one: Float | Int) -> str:
    more = [", log=True"] * one.log + [f", step={one.step}"] * (one.step is not None)
    return f"{type(one).__name__}({one.low}, {one.high}{''.join(more)})"


def _check_bounds(one: Float | Int, kind: Any, allowed: str) -> None:
    name = type(one).__name__
    for option in ("low", "high", "step"):
        value = getattr(one, option)
        if (value is None and option == "step") or (isinstance(value, kind) and not isinstance(value, bool)):
            continue
        msg = f"{name}({option}=...) takes {allowed}, not {value!r}."
        raise TypeError(msg)
    if not (math.isfinite(one.low) and math.isfinite(one.high) and one.low <= one.high):
        msg = f"{one!r} is no interval: {one.low} is to be at most {one.high}, and both finite."
        raise ValueError(msg)
    if one.log and (one.low <= 0 or one.step is not None):
        msg = f"{one!r} cannot be: by the logarithm, low is above 0 and there is no step."
        raise ValueError(msg)
    if one.step is not None and one.step <= 0:
        msg = f"{one!r} cannot be: step is above 0."
        raise ValueError(msg)
