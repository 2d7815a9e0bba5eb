"""All writers of this process: at a fork, when everything is to be sent, and at its exit."""

from __future__ import annotations

import atexit
import logging
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from flowml import settings
from flowml.background import BackgroundJob
from flowml.errors import TrackingError
from flowml.store import digests, lazy_store
from flowml.store.by_hand import active
from flowml.store.journal import journal
from flowml.store.sending import timing
from flowml.store.sending.writer import all_writers, writer_of
from flowml.store.waiting.delay import Delay

if TYPE_CHECKING:
    from flowml.store.runs import Run

_logger = logging.getLogger(__name__)

_LEAST = 0.5  # seconds that a process's end waits for MLflow though it has delayed the flow for as long as it may


def flush_all(patience: float | None = None) -> None:
    """Send all that was handed over to any store until now, and wait for it.

    Args:
        patience: Seconds to wait for each store. Default: ten times the setting ``timeout``.

    Raises:
        TrackingError: If something is not sent yet; the other stores are waited for all the same.
    """
    lazy_store.fix_all()
    digests.wait(settings.current().timeout if patience is None else patience)
    problem: TrackingError | None = None
    for writer in all_writers():
        if writer.is_working():
            try:
                writer.flush(patience)
            except TrackingError as error:
                problem = problem or error
    if problem:
        raise problem


@atexit.register
def _flush_at_exit() -> None:
    """Send what nobody waited for, such as a generator task that was left early; give up after the usual time."""
    left = Delay.newest.left() if Delay.newest else settings.current().max_delay
    patience, began = min(settings.current().timeout, max(left, _LEAST)), time.monotonic()
    try:
        flush_all(patience)
    except TrackingError as problem:
        if Delay.newest and Delay.newest.is_elsewhere:  # a pool waits for its processes to end
            Delay.newest.spend(time.monotonic() - began)
        waiting = [out for writer in all_writers() for out in writer.waiting()]
        why = str(problem).removesuffix(problem.remedy).strip()
        if lost := sum(not out.journal for out in waiting):
            _logger.warning("flowml: %d runs have something unsent, which is lost with this process: %s", lost, why)
        if kept := sum(bool(out.journal) and not (out.root or out).is_said_to_wait for out in waiting):
            _logger.warning("flowml: %d runs wait on this disk; `flowml sync` sends them: %s", kept, why)
    finally:
        journal.close_all()


def before_fork(run: Run) -> None:
    """Create the run of a call that forks, for the forked process to have one that its plain calls go to.

    A server is waited for but for a moment, and not at all once it is known to be away: the run has a key, too.

    Args:
        run: The call's.
    """
    if run.target is None:
        return
    try:
        writer, delay = writer_of(run.target.connection), run.target.out.delay
    except TrackingError:
        return
    if not writer.is_served:
        _create_own()
    elif delay.left() and not writer.is_away():
        most, began = min(timing.STUCK, delay.left()), time.monotonic()
        BackgroundJob(_create_own).wait(most)
        if (waited := time.monotonic() - began) >= most:
            delay.spend(waited)


def _create_own() -> None:
    with suppress(Exception):  # what fails is the sender's to try again, and to say
        active.own_run()


def _rest() -> None:
    for writer in all_writers():
        writer.rest()


def _go_on() -> None:
    for writer in all_writers():
        writer.go_on()


def _begin() -> None:
    for writer in all_writers():
        writer.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_rest, after_in_parent=_go_on, after_in_child=_begin)
