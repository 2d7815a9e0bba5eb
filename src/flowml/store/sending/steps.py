"""The steps in which a run is sent: what fails is noted and left out, or comes later."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flowml.errors import TrackingError
from flowml.store.backend import requests
from flowml.store.backend.connection import deleted_experiment
from flowml.store.backend.failures import explain
from flowml.store.backend.retrying import is_unreachable
from flowml.store.sending import timing
from flowml.store.waiting.queue import Outgoing

if TYPE_CHECKING:
    from flowml.store.backend.connection import Connection


class LaterError(Exception):
    """A step failed that may succeed later, while other runs can be sent."""

    def __init__(self, problem: TrackingError) -> None:
        super().__init__(problem)
        self.problem = problem


class StoreGoneError(LaterError):
    """The store cannot be reached: nothing else needs to be tried now."""


class Steps:
    """Does the steps of all runs that go to one store.

    Args:
        connection: The connection to the store.

    Attributes:
        is_last: Tells of which runs the rest is sent where a part fails, the end too: the part is late then.
        watch: Tells whether the store answers.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pass = 0
        self.is_last: Callable[[Outgoing], bool] = lambda _: False
        self.watch = timing.Watch()

    def begin_pass(self, is_last: Callable[[Outgoing], bool]) -> None:
        """Begin to go through all runs."""
        self._pass += 1
        self.is_last = is_last

    def has_failed(self, out: Outgoing) -> bool:
        """Tell whether a step of a run has failed in this pass."""
        return out.tried_in == self._pass

    def do(
        self, out: Outgoing, job: Callable[[], object], *, is_vital: bool = False, is_of_files: bool = False
    ) -> bool:
        """Do one step of a run; what MLflow refuses for good is noted and left out, and the other steps are done.

        Args:
            out: The run.
            job: Does it; what it has sent is not sent again when it is tried again.
            is_vital: Whether nothing can be done without it, in the last pass neither.
            is_of_files: Whether another server than that of the runs may have failed.

        Returns:
            Whether it was done.

        Raises:
            LaterError: If it may succeed later.
            StoreGoneError: If nothing can be sent now.
        """
        try:
            longest = timing.longest_upload(out.kept_files()) if is_of_files else timing.STUCK
            with self.watch.working(longest), requests.heard(self.watch.progress):
                job()
        except (StoreGoneError, LaterError):
            raise  # of the run above, which has to be created first
        except Exception as error:  # noqa: BLE001 - of MLflow, its database, the network
            problem = self._explain(out, error)
            if not problem.waits:
                out.note(problem)
                if not out.created.done():
                    out.created.set_exception(problem)
                return False
            out.tried_in = self._pass
            if is_unreachable(error) and not is_of_files:
                raise StoreGoneError(problem) from None
            if is_vital or not self.is_last(out):
                raise LaterError(problem) from None
            out.late = out.late or problem
            return False
        return True

    def _explain(self, out: Outgoing, error: Exception) -> TrackingError:
        """Return what failed; a run whose experiment was deleted is refused, until somebody restores that."""
        uri = self._connection.uri
        problem = explain(uri, error)
        if problem.waits or not out.created.done() or out.created.exception(0):
            return problem
        try:
            return deleted_experiment(self._connection.client, out.created.result(0).info.experiment_id) or problem
        except Exception as other:  # noqa: BLE001 - of MLflow, its database, the network
            asked = explain(uri, other)
            return asked if asked.waits else problem
