"""What can go wrong in flowml.

FlowmlError
├── DeploymentError     a deployment, a schedule or what is asked of one cannot be
├── OrchestrationError  Prefect's API could not be reached or refused what it was asked
├── SettingsError       a setting has a value that flowml cannot use
├── StackError          a local server did not start, or died
└── TrackingError       MLflow could not be reached or refused what it was sent
"""

from __future__ import annotations

from collections.abc import Sequence


class FlowmlError(Exception):
    """Anything that flowml itself raises."""


class DeploymentError(FlowmlError, ValueError):
    """A deployment, a schedule, or what is asked of one, cannot be; nothing was changed."""


class OrchestrationError(FlowmlError):
    """Prefect's API could not be reached, or refused what it was asked.

    Attributes:
        api: Its address, without credentials.
    """

    def __init__(self, message: str, *, api: str) -> None:
        super().__init__(message)
        self.api = api


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
