"""What is known about one call when it begins, and who runs it: all that `session` needs of Prefect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from flowml import records, store
from flowml.capture.guard import Log
from flowml.capture.verdict import RunWatch
from flowml.options import Track


class Orchestrator(Protocol):
    """Who runs a call, as far as the call's session asks it something, or tells it something."""

    def run_watch(self) -> RunWatch | None:
        """Return where the verdict on this attempt comes in, if anywhere."""

    def failure(self, value: Any) -> BaseException | None:
        """Return the error in a returned value, where the orchestrator takes that for a failure."""

    def is_pause(self, error: BaseException) -> bool:
        """Tell whether this is no error, but the orchestrator's way to leave the body."""

    def find_caller(self) -> records.Caller | None:
        """Return who called, as another process told it; asked where no session is current to say so."""

    def facts(self) -> list[records.Record]:
        """Return what else there is to log of the call; it is cheap to say."""

    def question(self) -> Callable[[], list[records.Record]] | None:
        """Return what asks for more over the network, beside the body; None if there is nothing to ask."""

    def announce(self, caller: records.Caller | None) -> None:
        """Hear which run the call has, for where this context does not reach; None while it is not known."""

    def publish(self, run: store.Run) -> None:
        """Hear of a run that was just opened, to link it from where people look at the call."""

    def keep(self, run: store.Run, handed_on: Callable[[records.Caller], records.Caller]) -> None:
        """Hear of it, to keep it where other machines look, once it is known, with what is handed on besides."""

    def publish_now(self) -> AbstractContextManager[None]:
        """Write the links while MLflow is waited for inside."""

    def wait_until_published(self) -> None:
        """Wait for the links, for a short time."""


class Nobody:
    """Runs a call that is not tracked."""

    def run_watch(self) -> None:
        """Give no verdict."""

    def failure(self, value: Any) -> None:
        """Take nothing for a failure."""

    def is_pause(self, error: BaseException) -> bool:  # noqa: ARG002
        """Know no pause."""
        return False

    def find_caller(self) -> None:
        """Know no caller."""

    def facts(self) -> list[records.Record]:
        """Have nothing to log."""
        return []

    def question(self) -> None:
        """Have nothing to ask."""

    def announce(self, caller: records.Caller | None) -> None:
        """Tell nobody."""

    def publish(self, run: store.Run) -> None:
        """Link nothing."""

    def keep(self, run: store.Run, handed_on: Callable[[records.Caller], records.Caller]) -> None:
        """Keep nothing."""

    def publish_now(self) -> AbstractContextManager[None]:
        """Have nothing to write."""
        return nullcontext()

    def wait_until_published(self) -> None:
        """Wait for nothing."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is known about one call when it begins.

    Attributes:
        identity: Which call it is.
        arguments: What it was given.
        hints: The annotations, by the argument's name, and ``return``.
        track: How it is tracked; None if it is not, nor what is called inside.
        log: Where the user is told something.
        orchestrator: Who runs it.
    """

    identity: records.Identity
    arguments: Mapping[str, Any]
    hints: Mapping[str, Any]
    track: Track | None
    log: Log
    orchestrator: Orchestrator

    def logged_arguments(self) -> Mapping[str, Any]:
        """Return the arguments that ``Track(inputs=...)`` lets through."""
        wanted = self.track.inputs if self.track else False
        if isinstance(wanted, bool):
            return self.arguments if wanted else {}
        return {name: value for name, value in self.arguments.items() if name in wanted}

    def experiment(self) -> str | None:
        """Return the name of the experiment that ``Track(experiment=...)`` gives for this call, if it gives one."""
        try:
            return self.track.experiment_for(self.arguments) if self.track else None
        except ValueError as error:
            self.log.warning("flowml: %s The run goes to the default experiment.", error)
            return None


@dataclass(frozen=True, slots=True)
class Ahead:
    """What an outermost call has to wait for before its session begins.

    Attributes:
        is_known: Whether it was waited for.
        parent: The run of its caller in another process, if there is one.
        caller: What that process told.
        reached: What came of connecting to the store in force.
    """

    is_known: bool = False
    parent: store.Run | None = None
    caller: records.Caller | None = None
    reached: store.Reached | None = None
