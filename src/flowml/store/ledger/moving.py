"""Aliases of registered models: each move is a decision, and one that somebody made by hand is found and noted."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from flowml import formats
from flowml.errors import RegistryError, TrackingError
from flowml.store.backend.retrying import may_pass
from flowml.store.ledger import order
from flowml.store.ledger.entries import Decision, Entry
from flowml.store.ledger.ledger import Ledger
from flowml.store.ledger.pending import Wait
from flowml.store.ledger.prompts import client_of

if TYPE_CHECKING:
    import mlflow

_logger = logging.getLogger("prefect.flowml")

HOW = "how"
"""The fact that says by what an alias was moved.

It is ``promote``, ``rollback``, ``marker`` (of a task), ``copied`` (by `flowml sync`) or ``outside``.
"""

MARKER: Final = "marker"
"""How an alias was moved by the marker of a task that returned the model."""

COPIED: Final = "copied"
"""How an alias was moved by `flowml sync`, with a version that was registered offline."""

OUTSIDE: Final = "outside"
"""How an alias was moved by somebody else than flowml: in MLflow's UI, or by its API."""

MADE_OF = "model_id"
"""The fact that names the logged model that a version was made of."""

_NOBODY = "unknown"
_MOST = 1000  # tries of one move: each loss means that somebody else has won


class _Any(Enum):
    VERSION = 0


ANY: Final = _Any.VERSION
"""Whatever version has the alias now."""

Expected: TypeAlias = str | _Any | None
"""The version that is expected to have an alias; None for none."""


class StaleError(RegistryError):
    """An alias was not moved, because it is not where it was expected."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a wish to move an alias.

    Attributes:
        entry: The decision in the ledger; None if the version had the alias already.
        before: The version that had it before; None if none had.
        is_late: Whether the alias stays: another version has it by a move that was asked for later.
    """

    entry: Entry | None
    before: str | None
    is_late: bool = False


_FOLLOWED, PREVIOUS = "champion", "previous"


def is_previous(alias: str) -> bool:
    """Tell whether an alias only follows another: that of the version that was champion before."""
    return alias == PREVIOUS


class Aliases:
    """The aliases of one registered model.

    Args:
        client: MLflow's client for the stores where runs and registered models are.
        model: The registered model's name.
    """

    def __init__(self, client: mlflow.MlflowClient, model: str) -> None:
        self.client = client_of(client, model)
        self.model = model
        self.ledger = Ledger(client, model)

    def now(self) -> dict[str, str]:
        """Return the aliases as MLflow has them, with their versions.

        Raises:
            Exception: What MLflow raises, also if there is no such model.
        """
        found = self.client.get_registered_model(self.model).aliases
        return {str(alias): str(version) for alias, version in found.items()}

    def move(self, decision: Decision, *, expect: Expected = ANY) -> Moved:
        """Move an alias to a version; of several moves at the same moment each is made, one after the other.

        Args:
            decision: The move: which alias, to which version, by whom, why. What it was before is filled in. One whose
                facts say when it was asked for is not made where another is that was asked for later.
            expect: The version that must have it now, None for none; the move is refused otherwise.

        Raises:
            StaleError: If another version has it; nothing was changed.
            TrackingError: If MLflow does not take it.
        """
        alias = decision.alias or ""
        for _ in range(_MOST):
            entries = self.settled(alias)
            before = self.now().get(alias)
            if expect is not ANY and before != expect:
                raise StaleError(_stale(self.model, alias, before, expect))
            if before == decision.version:
                return Moved(None, before)
            last = order.last_move(entries, alias)
            is_late = order.is_late(decision, last)
            facts = {**decision.facts, **({order.LATE: True} if is_late else {})}
            entry = self.ledger.append_after(entries, replace(decision, was=before, at=formats.now(), facts=facts))
            if entry and last and is_late:
                self.leave(entry, before, quietly=order.are_of_one_flow(decision, last.decision))
                return Moved(entry, before, is_late=True)
            if entry:
                self.carry_out(entry, entries)
                return Moved(entry, before)
        msg = f"{_MOST} other moves of {self.model}@{alias} came first. Try again."
        raise TrackingError(msg)

    def leave(self, entry: Entry, before: str | None, *, quietly: bool = False) -> None:
        """Leave an alias where it is: a move that was asked for later than this one has been made.

        Args:
            entry: The decision, which is void.
            before: The version that has the alias.
            quietly: Whether nobody needs to know: within a flow the order is its own.
        """
        one, has = entry.decision, f"version {before}" if before else "no version"
        self.ledger.apply(entry, f"{has} {order.ASKED_FOR_LATER}")
        _logger.log(
            logging.DEBUG if quietly else logging.WARNING,
            "flowml: %s@%s stays at %s, which was asked for after version %s; MLflow is told of that only now. To move "
            "it: flowml promote %s %s --to %s",
            *(self.model, one.alias, has, one.version, self.model, one.version, one.alias),
        )

    def settled(self, alias: str) -> list[Entry]:
        """Return the ledger, once MLflow's alias and it say the same.

        A version that nobody decided on is noted as a move from outside.
        """
        while True:
            entries = self.made(alias)
            last, actual = order.last_move(entries, alias), self.now().get(alias)
            known = last.decision.version if last else None
            if actual == known:
                return entries
            self.note_outside(entries, alias, actual, known)  # not, if a decision explains it that came meanwhile

    def made(self, alias: str) -> list[Entry]:
        """Return the ledger, once no move of an alias is decided and not made.

        It is waited for, and void if whoever decided it is gone: nobody else makes it, who may have other rights.
        """
        wait = Wait(self.model)
        while True:
            entries = self.ledger.entries()
            last = order.last_move(entries, alias)
            if last is None or last.is_settled:
                return entries
            if not wait.goes_on(last):
                if self.now().get(alias) == last.decision.version:
                    self._note_made(last, entries)
                else:
                    self.ledger.apply(last, "whoever decided it did not carry it out")

    def note_outside(  # noqa: PLR0913 - each is given by its name
        self,
        entries: list[Entry],
        alias: str,
        version: str | None,
        was: str | None,
        *,
        is_overwritten: bool = False,
        at: int | None = None,
    ) -> Entry | None:
        """Note a move that flowml did not make.

        Args:
            entries: The ledger, as it is known.
            alias: The alias.
            version: Which version got it; None if it was taken away.
            was: Which version had it before.
            is_overwritten: Whether another move has followed already.
            at: When, in milliseconds since 1970. Default: it was found now, and happened at some time before.

        Returns:
            The entry; None if another came first.
        """
        after = max((entry.decision.at for entry in entries), default=0)
        facts: dict[str, Any] = {HOW: OUTSIDE} | ({order.OVERWRITTEN: True} if is_overwritten else {})
        if at is None:
            facts[order.AFTER] = after
        decision = Decision(
            kind="move",
            version=version,
            alias=alias,
            was=was,
            who=_NOBODY,
            why="moved outside flowml",
            at=formats.now() if at is None else at,
            facts=facts,
        )
        entry = self.ledger.append_after(entries, decision)
        return self.ledger.apply(entry) if entry else None

    def carry_out(self, entry: Entry, entries: list[Entry]) -> None:
        """Make a move that was decided; one that MLflow refuses is void.

        It is for whoever decided it alone, who may have been ended between the two, and come again.

        Args:
            entry: The decision.
            entries: The ledger, as it is known.

        Raises:
            RegistryError: If others have given it up meanwhile.
            Exception: What MLflow raises.
        """
        decision = entry.decision
        alias, version = decision.alias or "", decision.version
        try:
            if version is None:
                self.client.delete_registered_model_alias(self.model, alias)
            else:
                self.client.set_registered_model_alias(self.model, alias, version)
        except BaseException as error:
            is_made = False
            with suppress(Exception):  # what is raised is why it was not made; it is open as long as nobody can look
                is_made = self.now().get(alias) == version  # only the answer was lost
                if not is_made:
                    self.ledger.apply(entry, f"{type(error).__name__}: {error}"[:300])
            if not (is_made and isinstance(error, Exception)):
                raise
        if self._note_made(entry, entries).is_void:
            msg = f"{self.model}@{alias} was moved to version {version} so late that others take it for a move by hand."
            raise RegistryError(msg)

    def _note_made(self, entry: Entry, entries: list[Entry]) -> Entry:
        """Note that a move is made, once `previous` has followed: others wait until then."""
        if entry.decision.alias == _FOLLOWED and entry.decision.was:
            self._follow(entry.decision.was, entries)
        return self.ledger.apply(entry)

    def _follow(self, was: str, entries: list[Entry]) -> None:
        """Let `previous` follow, unless somebody has given it to a version of their own choice."""
        from mlflow.exceptions import MlflowException

        held = self.now().get(PREVIOUS)
        ours = {entry.decision.was for entry in entries if entry.decision.alias == _FOLLOWED}
        if held is None or held in ours:
            try:
                self.client.set_registered_model_alias(self.model, PREVIOUS, was)
            except MlflowException as error:
                if may_pass(error):
                    raise
                _logger.debug("%s@%s: %s", self.model, PREVIOUS, error)  # it is deleted; the champion is what counts


def _stale(model: str, alias: str, actual: str | None, expected: str | None) -> str:
    def named(version: str | None) -> str:
        return f"version {version}" if version else "no version"

    return (
        f"{model}@{alias} is {named(actual)}, not {named(expected)} as expected: somebody has moved it meanwhile. "
        "Nothing was changed. Compare with the new one, then promote again."
    )
