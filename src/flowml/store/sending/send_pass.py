"""One pass over all runs that wait: in order, and several at a time where a server answers each call slowly."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial

from flowml.errors import TrackingError
from flowml.store.backend.retrying import pause
from flowml.store.models.identity import Serialized
from flowml.store.sending import timing
from flowml.store.sending.sender import Behind, Sender
from flowml.store.sending.steps import LaterError, StoreGoneError
from flowml.store.waiting.queue import Outgoing

_AT_A_TIME = 4  # runs that are sent to a server side by side
_IN_A_GROUP = 16  # so many before others may have their turn, a fork among them


@dataclass(slots=True, eq=False)
class SendPass:
    """One pass.

    Attributes:
        sender: Sends what one run has.
        waiting: The runs, in order; those of which nothing is left are taken out.
        at_work: Entered while something is sent.
        was_sent: Told of each run of which nothing is left.
        in_between: Called between runs: somebody may wait for another one to be created.
        left_out: Counts the runs below an outermost one that wait elsewhere.
        side_by_side: Whether several runs may be sent at a time.
        force: Send what waits for company, too.
        of: The outermost run that somebody waits for; what failed of it is tried now. Default: of all of them.
        last: Send the rest of a run where a part of it fails: it is better closed without a file, which comes later.
    """

    sender: Sender
    waiting: dict[Outgoing, None]
    at_work: Callable[[], AbstractContextManager[None]]
    was_sent: Callable[[], None]
    in_between: Callable[[], None]
    left_out: Callable[[Outgoing], int]
    side_by_side: bool
    force: bool = False
    of: Outgoing | None = None
    last: bool = False
    _failed: dict[Outgoing, TrackingError] = field(default_factory=dict)  # by the outermost run
    _put_off: set[Outgoing] = field(default_factory=set)  # outermost runs of which something waits for its next try
    _untold: dict[Outgoing, None] = field(default_factory=dict)  # outermost runs that ended before this was known
    _gone: list[StoreGoneError] = field(default_factory=list)

    def run(self) -> Mapping[Outgoing, TrackingError]:
        """Send what is due: what must be created, what was closed, what has waited long enough.

        Returns:
            The outermost runs of which something failed in a way that may pass, and why; it waits.

        Raises:
            StoreGoneError: If nothing can be sent now; all that is left waits.
        """
        self.sender.begin_pass(lambda out: self.last and self._is_awaited(out), self._is_behind)
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
            self._raise_if_gone()
        for root in list(self._untold):
            self.waiting[root] = None
            with self.at_work():
                self._send(root)
        self._raise_if_gone()
        self._tell_again()
        return self._failed

    def _tell_again(self) -> None:
        try:
            with self.at_work():
                self.sender.tell_again(self.was_sent)
        except StoreGoneError:
            raise
        except LaterError as later:
            self._failed[Outgoing(None, None)] = later.problem  # no flow's that ends now

    def _raise_if_gone(self) -> None:
        for gone in self._gone:
            raise gone

    def _groups(self) -> Iterator[list[Outgoing]]:
        """Put runs together that need not wait for each other; each group is made when those before it are sent."""
        group: list[Outgoing] = []
        for out in list(self.waiting):
            if self._is_put_off(out):
                self._put_off.add(out.root or out)
                continue
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

    def _is_put_off(self, out: Outgoing) -> bool:
        return not self._is_awaited(out) and time.monotonic() < out.next_try

    def _is_awaited(self, out: Outgoing) -> bool:
        return self.force and self.of in {None, out.root or out}

    def _is_due(self, out: Outgoing) -> bool:
        return bool(
            self.force or out.closing or not out.created.done() or time.monotonic() - out.since >= timing.LINGER
        )

    @staticmethod
    def _is_free(out: Outgoing) -> bool:
        """Tell whether a run needs nothing that other runs are sending at the same time."""
        out.sort()
        new = out.new
        if new is not None and (new.follows or new.reopens or (new.above and not new.above.created.done())):
            return False
        others = out.models or out.reused or any(isinstance(record, Serialized) for record in out.inputs)
        return not others and not (out.closing and (out.closing.rolls_up or out.closing.call_summary))

    def _waits_for_its_children(self, out: Outgoing) -> bool:
        if not out.closing or not out.closing.rolls_up or (self.last and self._is_awaited(out)):
            return False
        return self._has_late(out)

    def _has_late(self, out: Outgoing) -> bool:
        root = out.root or out
        return root in self._failed or root in self._put_off or self.left_out(root) > 0

    def _is_behind(self, out: Outgoing) -> Behind:
        """Tell what is missing of a flow's run that is closed though something below it waits."""
        if not self._has_late(out):
            return "nothing"
        root = out.root or out
        others = [other for other in self.waiting if other is not out and (other.root or other) is root]
        is_whole = self.left_out(root) == 0 and all(other.closed or other.closing is None for other in others)
        return "parts" if is_whole and all(other.created.done() for other in others) else "runs"

    def _create_together(self, group: list[Outgoing]) -> None:
        try:
            with self.at_work():
                self.sender.create_together(group)
        except StoreGoneError as gone:
            self._gone.append(gone)

    def _send(self, out: Outgoing) -> None:
        if self._gone:
            return
        root = out.root or out
        try:
            is_done = self.sender.send(out)
        except StoreGoneError as gone:
            self._gone.append(gone)
        except LaterError as later:  # this run's own; those of other flows need not wait for it
            out.put_off(pause(out.failures + 1, timing.LONGEST_PAUSE))
            self._failed[root] = later.problem
        else:
            out.failures, out.next_try = 0, 0.0
            if is_done:
                self.waiting.pop(out, None)
                root.sent_last = time.monotonic()
                self.was_sent()
        if root.closed and root.losses.untold() is not None:
            self._untold[root] = None


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
    until = time.monotonic() + timing.LONGEST_GROUP
    for helper in started:
        helper.join(max(0.0, until - time.monotonic()))
