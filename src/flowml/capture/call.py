"""What is known about one call when it begins, and who is told about it: all that `session` needs of Prefect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from flowml import records, store
from flowml.capture.guard import Log
from flowml.capture.verdict import Watch
from flowml.options import Track


@dataclass(frozen=True, slots=True)
class Call:
    """What is known about one call when it begins."""

    identity: records.Identity
    arguments: Mapping[str, Any]
    hints: Mapping[str, Any]  # resolved annotations by argument name, and "return"
    track: Track | None  # None: not tracked, nor what is called inside
    log: Log
    failure: Callable[[Any], BaseException | None]  # the error in a returned value, where the orchestrator sees one
    is_pause: Callable[[BaseException], bool]  # whether this is no error, but the orchestrator's way to leave the body
    watch: Callable[[], Watch | None]  # where the verdict on this attempt comes in, if anywhere
    find_caller: Callable[[], records.Caller | None]  # asked who called, where no session is current to say so
    announce: Callable[
        [records.Caller | None], None
    ]  # told of the run, for where this context does not reach, or of none yet
    keep: Callable[[records.Caller], None] | None  # told of it when it is known, to keep it where other machines look
    publish: Callable[[store.Run], None]  # told of a new run, to link it from where people look at the call
    published: Callable[[], None]  # waits for that, for a short time
    hurry: Callable[[], AbstractContextManager[None]]  # entered while MLflow is waited for: links are written meanwhile
    known: Callable[[], list[records.Record]] = list  # what else there is to log of the call; it is cheap to say
    asked: Callable[[], list[records.Record]] | None = None  # what takes a question over the network, beside the body

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
        reached: What came of connecting to the store in force.
    """

    is_known: bool = False
    parent: store.Run | None = None
    reached: store.Reached | None = None
