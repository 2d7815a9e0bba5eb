"""One pass over all runs that wait: in order, and several at a time where a server answers each call slowly."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial

from flowml.errors import TrackingError
from flowml.store.logged import Serialized
from flowml.store.outgoing import Outgoing
from flowml.store.sender import LaterError, Sender, StoreGoneError

LINGER = 1.0
"""Seconds that records wait for company before they are sent on their own."""

_AT_A_TIME = 4  # runs that are sent to a server side by side
_IN_A_GROUP = 16  # so many before others may have their turn, a fork among them


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass.

    Attributes:
        sender: Sends what one run has.
        waiting: The runs, in order; those of which nothing is left are taken out.
        at_work: Entered while something is sent.
        was_sent: Told of each run of which nothing is left.
        in_between: Called before each run: somebody may wait for another one to be created.
        side_by_side: Whether several runs may be sent at a time.
        force: Send what is not due yet, too.
        last: Leave out what fails, for the rest to be sent at least: a run is better closed without a file.
    """

    sender: Sender
    waiting: dict[Outgoing, None]
    at_work: Callable[[], AbstractContextManager[None]]
    was_sent: Callable[[], None]
    in_between: Callable[[], None]
    side_by_side: bool
    force: bool = False
    last: bool = False
    _failed: dict[Outgoing, TrackingError] = field(default_factory=dict)  # by the outermost run
    _gone: list[TrackingError] = field(default_factory=list)

    def run(self) -> None:
        """Send what is due: what must be created, what was closed, what has waited long enough.

        Raises:
            TrackingError: If MLflow fails in a way that may pass; all that is left waits.
        """
        self.sender.begin_pass(last=self.last)
        for group in self._groups():
            self.in_between()
            self._create_together(group)
            if self.side_by_side:
                with self.at_work():
                    _together([partial(self._send, out) for out in group])
            else:
                for out in group:
                    self.in_between()
                    with self.at_work():
                        self._send(out)
            for problem in self._gone:
                raise problem
        for problem in self._failed.values():
            raise problem

    def _groups(self) -> Iterator[list[Outgoing]]:
        """Put runs together that need not wait for each other; each group is made when those before it are sent."""
        group: list[Outgoing] = []
        for out in list(self.waiting):
            if not self._is_due(out):
                continue
            if group and (len(group) >= _IN_A_GROUP or not self._is_free(out)):
                yield group
                group = []
            if self._waits_for_its_children(out):
                continue
            group.append(out)
            if not self._is_free(out):
                yield group
                group = []
        if group:
            yield group

    def _is_due(self, out: Outgoing) -> bool:
        return bool(self.force or out.closing or not out.created.done() or time.monotonic() - out.since >= LINGER)

    @staticmethod
    def _is_free(out: Outgoing) -> bool:
        """Tell whether a run needs nothing that other runs are sending at the same time."""
        out.sort()
        new = out.new
        if new is not None and (new.follows or (new.above and not new.above.created.done())):
            return False
        models = out.models or any(isinstance(given, Serialized) for given in out.inputs)
        return not models and not (out.closing and (out.closing.rolls_up or out.closing.tally))

    def _waits_for_its_children(self, out: Outgoing) -> bool:
        return bool(out.closing and out.closing.rolls_up and (out.root or out) in self._failed)

    def _create_together(self, group: list[Outgoing]) -> None:
        try:
            with self.at_work():
                self.sender.create_together(group)
        except StoreGoneError as gone:
            self._gone.append(gone.problem)

    def _send(self, out: Outgoing) -> None:
        if self._gone:
            return
        try:
            if self.sender.send(out):
                self.waiting.pop(out, None)
                self.was_sent()
        except StoreGoneError as gone:
            self._gone.append(gone.problem)
        except LaterError as later:  # this run's own; those of other flows need not wait for it
            self._failed[out.root or out] = later.problem
        except BaseException as error:  # noqa: BLE001 - of the disk, or flowml's own: the other runs are sent
            self._failed[out.root or out] = TrackingError(f"{type(error).__name__}: {error}")


def _together(jobs: list[Callable[[], None]]) -> None:
    """Do all jobs, some of them in other threads; in this one alone when the process ends and there are no new ones."""
    left = deque(jobs)

    def work() -> None:
        while True:
            try:
                job = left.popleft()
            except IndexError:
                return
            job()

    helpers = [threading.Thread(target=work, name="flowml-sender", daemon=True) for _ in jobs[1:_AT_A_TIME]]
    started = []
    for helper in helpers:
        try:
            helper.start()
        except RuntimeError:
            break
        started.append(helper)
    work()
    for helper in started:
        helper.join()
