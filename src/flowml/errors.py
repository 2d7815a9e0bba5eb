"""What can go wrong in flowml.

FlowmlError
├── DeploymentError     a deployment, a schedule or what is asked of one cannot be
├── EvaluationError     what is to be evaluated, or how, cannot be
├── OrchestrationError  Prefect's API could not be reached or refused what it was asked
├── RegistryError       a decision about a registered model cannot be made
├── SettingsError       a setting has a value that flowml cannot use
├── StackError          a local server did not start, or died
├── TrackingError       MLflow could not be reached or refused what it was sent
└── TuningError         a search for parameters cannot be, or cannot go on
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class FlowmlError(Exception):
    """Anything that flowml itself raises."""


class DeploymentError(FlowmlError, ValueError):
    """A deployment, a schedule, or what is asked of one, cannot be; nothing was changed."""


class EvaluationError(FlowmlError, ValueError):
    """What is to be evaluated, or how, cannot be; or nothing came of it."""


class OrchestrationError(FlowmlError):
    """Prefect's API could not be reached, or refused what it was asked.

    Attributes:
        api: Its address, without credentials.
    """

    def __init__(self, message: str, *, api: str) -> None:
        super().__init__(message)
        self.api = api


class RegistryError(FlowmlError):
    """A decision about a registered model cannot be made; nothing was changed."""


class ServingError(FlowmlError):
    """A version of a registered model cannot answer requests."""


class SettingsError(FlowmlError, ValueError):
    """A setting has a value that flowml cannot use.

    Attributes:
        setting: The setting's name.
        value: What it was set to.
    """

    def __init__(self, message: str, *, setting: str, value: object) -> None:
        super().__init__(message)
        self.setting = setting
        self.value = value


class StackError(FlowmlError):
    """A local server did not start, or died.

    Attributes:
        server: Which one.
    """

    def __init__(self, message: str, *, server: str) -> None:
        super().__init__(message)
        self.server = server


class TrackingError(FlowmlError):
    """MLflow could not be reached, or refused what it was sent.

    Raised into your code only with ``on_error="raise"``; otherwise it is a warning and your flow goes on.

    Attributes:
        uri: The tracking URI, without credentials.
        remedy: What to do about it.
        waits: Whether nothing is lost yet: what waits is sent when MLflow takes it, while the process lives.
        others: What else went wrong, where it is raised for several things.
    """

    def __init__(self, message: str, *, uri: str = "", remedy: str = "", waits: bool = False) -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.uri = uri
        self.remedy = remedy
        self.waits = waits
        self.others: tuple[TrackingError, ...] = ()

    @classmethod
    def of(cls, problems: Sequence[TrackingError]) -> TrackingError:
        """Return the first of several errors, which tells of the others."""
        first = problems[0]
        distinct = {str(problem): problem for problem in reversed(problems) if str(problem) != str(first)}
        first.others = tuple(reversed(distinct.values()))
        return first


class TuningError(FlowmlError):
    """A search for parameters cannot be, or cannot go on."""


_ORDERS = (KeyboardInterrupt, SystemExit, GeneratorExit)
_GIVEN_BY = {"asyncio", "prefect"}


def pass_on(error: BaseException) -> None:
    """Raise an exception again if it is no failure but an order to stop, which nothing may hold up.

    Those are Python's own three, a cancellation by asyncio, and what Prefect pauses, aborts, ends and times out runs
    with. A library may raise any other: what is written in Rust panics with one that is no `Exception`.

    Args:
        error: What was caught, by an ``except BaseException``.
    """
    if isinstance(error, Exception):
        return
    givers = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    if isinstance(error, _ORDERS) or not givers.isdisjoint(_GIVEN_BY):
        raise error


def close(name: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return the known names that are near, the nearest first, whatever their case; of a path its end may be meant.

    Example:
        >>> close("Nightli", ["training/nightly", "hourly"])
        ['training/nightly']
    """
    there = list(known)
    forms = {one.rpartition("/")[2].lower(): one for one in there} | {one.lower(): one for one in there}
    found = difflib.get_close_matches(name.lower(), forms, n=2 * most, cutoff=cutoff)  # each has two forms
    return list(dict.fromkeys(forms[form] for form in found))[:most]


def did_you_mean(name: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> str:
    """Return a question as a sentence of its own, or nothing when no name is near.

    Example:
        >>> did_you_mean("nightli", ["nightly", "hourly"])
        "Did you mean 'nightly'?"
    """
    found = close(name, known, most=most, cutoff=cutoff)
    return f"Did you mean {' or '.join(map(repr, found))}?" if found else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the question in brackets, to follow the name, or nothing when no name is near.

    Example:
        >>> nearest("nightli", ["nightly", "hourly"])
        " (did you mean 'nightly'?)"
    """
    found = close(name, known)
    return f" (did you mean {found[0]!r}?)" if found else ""


def nearest_or_some(name: str, known: Iterable[str], most: int = 5) -> str:
    """Return the end of a message: the names that may have been meant, or else some of those that there are.

    Example:
        >>> nearest_or_some("weekly", ["a", "b"])
        "There are 'a', 'b'."
    """
    there = list(known)
    if asked := did_you_mean(name, there, most=2):
        return asked
    some = ", ".join(map(repr, there[:most]))
    return f"There {'is' if len(there) == 1 else 'are'} {some}{', …' if len(there) > most else ''}." if there else ""


def listed(known: Iterable[str], most: int = 10) -> str:
    """Return names as a list in a sentence, cut where it gets long.

    Example:
        >>> listed(["b", "a"])
        'a, b'
    """
    there = sorted(known)
    return ", ".join([*there[:most], *(["…"] if len(there) > most else [])]) or "none"
