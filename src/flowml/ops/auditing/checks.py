"""Whether the decisions about a model, and the evidence that they rest on, are as they were written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flowml.registry.evidence import FILE
from flowml.store.ledger import Entry, Ledger, broken

if TYPE_CHECKING:
    import mlflow


def wrong_in(client: mlflow.MlflowClient, model: str) -> Iterator[str]:
    """Check every decision about a model: each holds the digest of the one before it, and of its evidence.

    Args:
        client: MLflow's client.
        model: The registered model's name.

    Yields:
        What is wrong, a line each.

    Raises:
        TrackingError: If a decision cannot be read.
    """
    entries = Ledger(client, model).entries()
    for number, why in broken(entries):
        yield f"decision {number} {why}"
    for entry in entries:
        if entry.decision.kind == "gate" and (problem := _evidence(client, entry)):
            yield f"the evidence of decision {entry.number} {problem}"


def _evidence(client: mlflow.MlflowClient, entry: Entry) -> str | None:
    """Compare the evidence with the digest that the decision has of it."""
    import mlflow

    digest = entry.decision.facts.get("evidence")
    if not digest:
        return None
    try:
        place = client.get_run(str(entry.decision.run_id)).info.artifact_uri
        text = mlflow.artifacts.load_text(f"{place}/{FILE}")
    except Exception as error:  # noqa: BLE001 - of MLflow, or of where the files are
        return f"cannot be read from run {entry.decision.run_id}: {error}"
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        return f"was changed after it was written (run {entry.decision.run_id}, {FILE})"
    return None
