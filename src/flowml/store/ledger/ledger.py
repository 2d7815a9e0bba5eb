"""A model's ledger: a run of MLflow's whose parameters are the entries.

MLflow takes one value for a parameter, and refuses another, whoever comes second, in every kind of store. So a number
that is taken stays taken: of writers that add an entry at the same moment one wins, and the others read on and try the
next number. No lock is needed, and no server but MLflow's.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from flowml import formats
from flowml.errors import TrackingError
from flowml.store.backend.paging import paged
from flowml.store.ledger.entries import APPLIED, SEEN, VOID, Decision, Entry, read, written
from flowml.store.ledger.prompts import client_of

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities import Run

EXPERIMENT = "flowml registry"
"""The experiment that holds the ledgers, and the runs of decisions that were made outside flows."""

LEDGER = "ledger"
"""The kind of run that a ledger is, in the tag ``flowml.kind``."""

TAG = "flowml.ledger"
"""The run's tag with the model's name, and the model's with the run's id."""

_KEY = "flowml.ledger_key"
_STATE = "state"  # the parameter that says whether a ledger is in use: two may be begun at the same moment
_IN_USE, _VOID = "in use", "void: another ledger of this model was begun at the same moment"
_TAKEN = "INVALID_PARAMETER_VALUE"
_EXISTS, _MISSING = "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"
_NOTE = (
    "Each parameter is a decision about a version of this model: a gate's verdict, an approval, a move of an alias. "
    "MLflow refuses to change them, and each holds the digest of the one before. `flowml history` shows them."
)
_MOST = 100  # tries of a number: each loss means that somebody else has won


class Ledger:
    """The decisions about one registered model.

    Args:
        client: MLflow's client for the store where runs are.
        model: The registered model's name, or ``prompts:/<name>``.

    Example:
        >>> ledger = Ledger(client, "churn")
        >>> ledger.append(Decision(kind="approval", version="7", who="ada", why="better on recall")).number
        1
    """

    def __init__(self, client: mlflow.MlflowClient, model: str) -> None:
        self.client = client_of(client, model)
        self.model = model
        self._run_id: str | None = None

    @property
    def run_id(self) -> str | None:
        """The run that holds it; None as long as nothing was decided.

        The registered model has a tag with its id, so that it is found also when model or experiment are renamed.

        Raises:
            TrackingError: If somebody has deleted it.
        """
        if self._run_id is None:
            self._run_id = self._by_tag() or next((run.info.run_id for run in self._candidates() if _in_use(run)), None)
        return self._run_id

    def _by_tag(self) -> str | None:
        from mlflow.exceptions import MlflowException

        try:
            run_id = self.client.get_registered_model(self.model).tags.get(TAG)
            run = self.client.get_run(run_id) if run_id else None
        except MlflowException as error:
            if error.error_code != _MISSING:
                raise
            return None
        if run is None or not _in_use(run):
            return None
        self._check(run)
        return str(run.info.run_id)

    def entries(self) -> list[Entry]:
        """Read all entries, in their order.

        Raises:
            TrackingError: If one cannot be read, or somebody has deleted the run that holds them.
        """
        if self.run_id is None:
            return []
        params = self.client.get_run(self.run_id).data.params
        found = []
        for key in sorted(key for key in params if re.fullmatch(r"\d{6}", key)):
            try:
                notes = {note: params[f"{key}.{note}"] for note in (APPLIED, SEEN) if f"{key}.{note}" in params}
                found.append(read(int(key), params[key], notes))
            except (TypeError, ValueError) as error:
                msg = (
                    f"Entry {int(key)} of the ledger of {self.model} (run {self.run_id}) cannot be read: {error}. "
                    "Somebody has changed it in MLflow's database: restore that from a backup."
                )
                raise TrackingError(msg) from None
        return found

    def append(self, decision: Decision) -> Entry:
        """Add a decision after all that there are.

        Args:
            decision: The decision.

        Returns:
            The decision at its place.

        Raises:
            TrackingError: If MLflow does not take it.
        """
        for _ in range(_MOST):
            if entry := self.append_after(self.entries(), decision):
                return entry
        msg = f"{_MOST} other decisions about {self.model} came first. Try again."
        raise TrackingError(msg)

    def append_after(self, known: list[Entry], decision: Decision) -> Entry | None:
        """Add a decision, if it is the next one after those that are known.

        Returns:
            The decision at its place; None if another was added meanwhile.
        """
        last = known[-1] if known else None
        number, before = (last.number + 1 if last else 1), (last.digest if last else "")
        text = written(number, decision, before)
        if not self._write(self.run_id or self._begin(), f"{number:06d}", text):
            return None
        return read(number, text, {})

    def apply(self, entry: Entry, void: str = "") -> Entry:
        """Note what became of a decision; whoever notes it first is right.

        Args:
            entry: The decision.
            void: Why it is not carried out; empty if it was.

        Returns:
            The decision as it stands now.
        """
        now = f"{VOID}: {void}" if void else str(formats.now())
        if not self.note(entry, APPLIED, now):
            now = self.client.get_run(str(self.run_id)).data.params[f"{entry.number:06d}.{APPLIED}"]
        return replace(entry, notes={**entry.notes, APPLIED: now})

    def note(self, entry: Entry, what: str, value: str) -> bool:
        """Note something about an entry; tell whether nobody noted anything else of the sort before."""
        return self._write(self.run_id or "", f"{entry.number:06d}.{what}", value)

    def _write(self, run_id: str, key: str, value: str) -> bool:
        """Write a parameter; tell whether it was this writer's value that MLflow took."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.log_param(run_id, key, value)
        except MlflowException as error:
            if error.error_code != _TAKEN:
                raise
            return self.client.get_run(run_id).data.params.get(key) == value
        return True

    def _begin(self) -> str:
        """Begin a ledger; of several begun at the same moment, the one whose state is written first is in use."""
        from mlflow.exceptions import MlflowException

        mine = self._made()
        while True:
            others = [run for run in self._candidates() if run.info.run_id != mine]
            in_use = [run for run in others if not self._write(run.info.run_id, _STATE, _VOID)]
            if in_use:
                self._write(mine, _STATE, _VOID)
            if in_use or self._write(mine, _STATE, _IN_USE):
                self._run_id = str(in_use[0].info.run_id if in_use else mine)
                with suppress(MlflowException):  # of a model that is not there, or that is somebody else's
                    self.client.set_registered_model_tag(self.model, TAG, self._run_id)
                return self._run_id
            mine = self._made()  # another writer has voided it

    def _made(self) -> str:
        tags = {"flowml.kind": LEDGER, TAG: self.model, _KEY: _key(self.model), "mlflow.note.content": _NOTE}
        run = self.client.create_run(experiment(self.client), tags=tags, run_name=f"ledger of {self.model}")
        self.client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def _candidates(self) -> list[Run]:
        from mlflow.entities import ViewType

        if (experiment_id := _experiment_id(self.client)) is None:
            return []
        mine = f"tags.`{_KEY}` = '{_key(self.model)}'"
        found = list(paged(partial(self.client.search_runs, [experiment_id], mine, ViewType.ALL)))
        for run in found:
            self._check(run)
        return [run for run in found if run.info.lifecycle_stage != "deleted"]

    def _check(self, run: Run) -> None:
        if run.info.lifecycle_stage == "deleted" and _in_use(run):
            msg = (
                f"The ledger of {self.model}, run {run.info.run_id} in the experiment {EXPERIMENT!r}, is deleted. "
                f"Restore it: mlflow runs restore --run-id {run.info.run_id}"
            )
            raise TrackingError(msg)


def _key(model: str) -> str:
    """Return what a model's ledger is found by: a filter of MLflow's cannot hold every name."""
    return hashlib.sha256(model.encode()).hexdigest()[:32]


def experiment(client: mlflow.MlflowClient) -> str:
    """Return the id of the experiment that holds the ledgers; it is made if there is none yet.

    Raises:
        TrackingError: If somebody has deleted it.
    """
    from mlflow.exceptions import MlflowException

    if found := _experiment_id(client):
        return found
    try:
        return str(client.create_experiment(EXPERIMENT))
    except MlflowException as error:
        if error.error_code != _EXISTS:  # made by somebody else at this moment
            raise
    return str(_experiment_id(client))


def _experiment_id(client: mlflow.MlflowClient) -> str | None:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        return None
    if found.lifecycle_stage == "deleted":
        msg = f"The experiment {EXPERIMENT!r}, which holds the decisions about models, is deleted. Restore it."
        raise TrackingError(msg)
    return str(found.experiment_id)


def _in_use(run: Run) -> bool:
    return bool(run.data.params.get(_STATE) == _IN_USE)
