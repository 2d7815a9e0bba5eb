"""``flowml promote`` and ``flowml rollback``: aliases are moved from the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from flowml import formats
from flowml.events.emitting import deliver
from flowml.ops import output, prefect_api
from flowml.ops.runs import connected
from flowml.registry import moves
from flowml.registry.moves import Promotion
from flowml.settings import current
from flowml.store.backend.failures import explained
from flowml.store.ledger import Decision, this_user
from flowml.store.ledger.ledger import experiment
from flowml.store.registered.references import find, parse

if TYPE_CHECKING:
    import mlflow


def promote(model: str, wish: Decision, *, expect: str) -> None:
    """Give a version an alias, and say what was moved.

    Args:
        model: The registered model's name.
        wish: Which version gets which alias, by whom and why.
        expect: The version that must have it now, ``none`` for none, ``any`` for whichever has it.

    Raises:
        LookupError: If there is no store yet.
        RegistryError: If it cannot be; nothing is changed then.
        TrackingError: If MLflow cannot be reached.
    """
    moves.legal_alias(wish.alias or "")
    expected = moves.expected(None if expect == "none" else expect)
    number = parse(f"{model}/{wish.version}").version  # as MLflow writes it: 7 where somebody has typed 07
    _decide(
        f"promote {model} {number} to {wish.alias}",
        replace(wish, version=number),
        lambda client, wish: moves.promote(client, model, wish, expect=expected),
        lambda client: find(client, (model, str(number))),
    )


def rollback(model: str, wish: Decision) -> None:
    """Give an alias back to the version that had it before, and say what was moved.

    Args:
        model: The registered model's name.
        wish: Which alias goes back, by whom and why.

    Raises:
        LookupError: If there is no store yet.
        RegistryError: If it cannot be; nothing is changed then.
        TrackingError: If MLflow cannot be reached.
    """
    moves.legal_alias(wish.alias or "")
    _decide(
        f"roll back {model}@{wish.alias}",
        wish,
        lambda client, wish: moves.rollback(client, model, wish),
        lambda client: find(client, f"{model}@{wish.alias}"),
    )


def wish(alias: str, *, who: str, why: str, version: str | None = None) -> Decision:
    """Say who wishes to move an alias from the command line.

    Args:
        alias: The alias.
        who: Who decided; empty for the user here.
        why: The reason.
        version: The version that is to get it.
    """
    return Decision(kind="move", version=version, alias=alias, who=who or this_user(), why=why)


def _decide(
    name: str,
    wish: Decision,
    move: Callable[[mlflow.MlflowClient, Decision], Promotion],
    check: Callable[[mlflow.MlflowClient], object],
) -> None:
    connection = connected()
    with explained(connection.uri):
        check(connection.client)
        with _run(connection.client, name, wish) as run_id:
            done = move(connection.client, replace(wish, run_id=run_id))
    output.say(done)
    if done.digest:
        _tell_prefect(connection.client, done)


@contextmanager
def _run(client: mlflow.MlflowClient, name: str, wish: Decision) -> Iterator[str]:
    """Keep the decision as a run beside the ledgers; one that was not carried out has failed."""
    tags = {"flowml.kind": "decision", "flowml.decision": "move", "mlflow.user": wish.who, "flowml.why": wish.why}
    run_id = client.create_run(experiment(client), tags=tags, run_name=name).info.run_id
    try:
        yield run_id
    except BaseException:
        client.set_terminated(run_id, "FAILED", formats.now())
        raise
    client.set_terminated(run_id, "FINISHED", formats.now())


def _tell_prefect(client: mlflow.MlflowClient, done: Promotion) -> None:
    """Let deployments start that wait for this alias; the move is made, whatever Prefect says."""
    if not current().events or prefect_api.configured() is None:
        return
    try:
        asyncio.run(deliver(moves.event_of(client, done)))
    except Exception as error:  # noqa: BLE001 - of Prefect's client
        output.note(f"flowml: Prefect was not told, so no deployment starts on it: {type(error).__name__}: {error}")
