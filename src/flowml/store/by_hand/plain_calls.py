"""What plain ``mlflow.*`` calls see of one call's run: made when something asks, in the thread that asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from flowml import records
from flowml.errors import FlowmlError
from flowml.secrets import mask
from flowml.store.backend import mlflow_state
from flowml.store.backend.retrying import may_pass
from flowml.store.by_hand import active, fluent
from flowml.store.by_hand.logged import ByHand, HeldParams, Logged
from flowml.store.by_hand.opened import opened

if TYPE_CHECKING:
    from mlflow import ActiveRun

    from flowml.store.backend.connection import Connection
    from flowml.store.by_hand.opened import Opened, Stack


_MOST_APART = 50  # runs in other experiments that a run leads to


class Store(Protocol):
    """The store of a run, as far as plain calls concern it; it may not be chosen yet."""

    @property
    def is_open(self) -> bool:
        """Whether it may still be chosen."""

    @property
    def connection(self) -> Connection:
        """The connection to it; asking chooses it."""

    def being_named(self) -> AbstractContextManager[None]:
        """Give the user's code time while it names a store."""


class Joined(Protocol):
    """A run in MLflow, as far as plain calls concern it."""

    apart: list[tuple[str, str, str]]

    @property
    def store(self) -> Store:
        """The store it is in, or will be."""

    @property
    def connection(self) -> Connection:
        """The store it is in."""

    @property
    def info(self) -> records.CurrentRun | None:
        """Its ids, which are waited for."""

    def active_run(self) -> ActiveRun:
        """Return it as MLflow's own."""

    def id_if_created(self) -> str | None:
        """Return its id, if it was created."""

    def put(self, new_records: Iterable[records.Record]) -> None:
        """Log to it."""


class Source(Protocol):
    """A run that plain calls may go to."""

    stack: Stack
    logged: Logged
    held: HeldParams | None
    joins: bool

    def opened_run(self) -> Joined:
        """Return the run itself, which may be opened for being asked for."""

    def nearest(self) -> Joined:
        """Return the nearest run that is open anyway: itself, or the one above."""

    def id_if_created(self) -> str | None:
        """Return the run's id, if it was created."""


class PlainCalls:
    """The session as `flowml.store.by_hand.active.Here` wants it.

    Args:
        run: The session's run.
        say: Tells the user something, in the log of the flow.
    """

    def __init__(self, run: Source, say: Callable[[str], None]) -> None:
        self.stack = run.stack
        self.by_hand: ByHand[Opened] = active.begin(run.stack, fluent.opened_outside, mlflow_state.experiment_named)
        self.logged = run.logged
        self.held = run.held
        self.joins = run.joins
        self.say = say
        self._run = run

    def own(self) -> ActiveRun | None:
        """Return the session's own run, which is created now; None where MLflow is to go by itself.

        Raises:
            Exception: What MLflow raises when it fails in a way that may pass: without flowml it would, too.
        """
        if not self._is_in_this_store():
            return None
        if self._run.stack.replacement is not None:
            return self._run.stack.replacement
        try:
            return self._run.opened_run().active_run()
        except FlowmlError:
            return None
        except Exception as error:
            if may_pass(error):
                raise
            return None

    def run_id(self) -> str | None:
        """Return its own run's id; None as long as it is not created."""
        return self._run.id_if_created()

    def lost(self) -> bool:
        """Tell whether its own run was deleted meanwhile."""
        from mlflow.exceptions import MlflowException

        run = self._run.opened_run()
        try:
            in_mlflow = run.connection.client.get_run(run.id_if_created() or "")
        except MlflowException as error:
            return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")
        return bool(in_mlflow.info.lifecycle_stage == "deleted")

    def other_run(self) -> str:
        """Return the id of the run that takes the place of its own, which was deleted; made as MLflow alone would."""
        stack = self._run.stack
        if stack.replacement is None:
            stack.replacement = fluent.open_in_place_of(self._run.opened_run().active_run())
            stack.take(opened(stack.replacement, mlflow_state.tracking_uri()))
        return str(stack.replacement.info.run_id)

    def opened_apart(self, run: ActiveRun) -> None:
        """Lead from the own run to one of the user's in another experiment, which MLflow's UI nests nowhere."""
        own = self._run.opened_run()
        if len(own.apart) < _MOST_APART:
            own.apart.append((str(run.info.run_name or run.info.run_id), run.info.experiment_id, run.info.run_id))
            own.put([records.Tag(f"{mlflow_state.APART}{run.info.run_id}", run.info.experiment_id)])

    def choosing_experiment(self) -> AbstractContextManager[None]:
        """Give the user's code time while it chooses an experiment."""
        return self._run.nearest().store.being_named()

    def chose_experiment(self, name: str, experiment_id: str) -> None:
        """Say so if the flow's run was opened in another experiment already."""
        run = self._run.nearest()
        if run.store.is_open or not self._is_in_this_store():
            return
        try:
            info = run.info
        except FlowmlError:
            return
        if info and info.experiment_id != experiment_id:
            text = (
                f"flowml: mlflow.set_experiment({name!r}) came after the flow's run was opened, in experiment "
                f"{info.experiment_id}. Your own runs go to {name!r} from now on, flowml's stay where they are."
            )
            self.by_hand.say_once(f"experiment {experiment_id}", text, self.say)

    def _is_in_this_store(self) -> bool:
        """Tell whether plain calls go to the store that the session's run is in."""
        try:
            uri = self._run.nearest().store.connection.uri
        except FlowmlError:
            return False
        now = mlflow_state.tracking_uri()
        if now == uri or mlflow_state.absolute(now) == uri:
            return True
        text = (
            f"flowml: plain mlflow.* calls go to {mask(now)}, which was named after the flow's run was opened in "
            f"{mask(uri)}. flowml's own runs stay there."
        )
        self.by_hand.say_once(f"store {now}", text, self.say)
        return False
