"""What takes the place of MLflow's stack of active runs: of a kind that MLflow knows, it answers by the context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from flowml.store.backend.mlflow_state import tracking_uri
from flowml.store.by_hand import active

if TYPE_CHECKING:
    from mlflow import ActiveRun

    from flowml.store.by_hand.opened import Opened

_in_place_of_the_stack: ContextVar[list[ActiveRun] | None] = ContextVar("flowml_mlflow_stack", default=None)


class Runs(list["ActiveRun"]):
    """What MLflow takes for its stack: it pushes what it opens, and pops what it ends."""

    def __init__(self, opened: Sequence[Opened]) -> None:
        super().__init__(each.run for each in opened)
        self._opened = list(opened)

    def append(self, run: ActiveRun) -> None:
        """Take a run that was opened."""
        active.was_opened(run, tracking_uri())
        super().append(run)

    def pop(self, index: Any = -1) -> ActiveRun:
        """Give up a run that is ended."""
        self._opened.pop(index).end()
        return super().pop(index)


@contextmanager
def stack_of(runs: list[ActiveRun]) -> Iterator[None]:
    """Give MLflow a stack of its own for one call."""
    token = _in_place_of_the_stack.set(runs)
    try:
        yield
    finally:
        _in_place_of_the_stack.reset(token)


def is_given() -> bool:
    """Tell whether MLflow is given a stack for one call of its own."""
    return _in_place_of_the_stack.get() is not None


def context_stack(original: Any) -> Any:
    """Make what takes the place of MLflow's stack.

    Args:
        original: MLflow's own.
    """
    from mlflow.utils.thread_utils import ThreadLocalVariable

    class ContextStack(ThreadLocalVariable):
        """MLflow's stack where no session is active, the runs that the user's code opened where one is."""

        def get(self) -> Any:
            replacement = _in_place_of_the_stack.get()
            if replacement is not None:
                return replacement
            return original.get() if active.here() is None else Runs(active.visible())

        def set(self, value: Any) -> None:
            original.set(value)

        def get_all_thread_values(self) -> Any:
            session = active.here_or_only()  # MLflow asks so for a trace: in a thread without a context, too
            if session is None:
                return original.get_all_thread_values()
            with active.answering(session):
                own = active.own_run()
                return {0: [*([own] if own else []), *(each.run for each in active.visible())]}

        def reset(self) -> None:
            original.reset()

    return ContextStack(list)  # type: ignore[no-untyped-call]
