"""What was moved outside flowml, found on a schedule: a flow to be deployed."""

from __future__ import annotations

from typing import Any

from prefect.logging import get_run_logger

from flowml.decorators import flow
from flowml.registry import history
from flowml.store.backend.connection import connect
from flowml.store.backend.paging import paged
from flowml.store.ledger.moving import OUTSIDE


@flow(name="flowml-reconcile", track=False)
def reconcile(models: list[str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Note in each model's history what somebody moved in MLflow's UI or by its API since the last look.

    The shorter its schedule, the narrower the time in which such a move is known to have been made; `flowml webhooks`
    hears of each at once.

    Args:
        models: The registered models. Default: all.

    Returns:
        The moves that were found, by model.

    Raises:
        TrackingError: If MLflow cannot be reached.

    Example:
        >>> reconcile.serve(name="every-ten-minutes", cron="*/10 * * * *")
    """
    client, log = connect().client, get_run_logger()
    names = [model.name for model in paged(client.search_registered_models)] if models is None else models
    found: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        before = history.last_number(client, name)
        entries = history.entries_of(client, name)
        new = [one for one in history.moves_in(entries) if one.number > before and one.how == OUTSIDE]
        for move in new:
            log.warning("%s: %s", name, move)
        if new:
            found[name] = [move.as_json() for move in new]
    return found
