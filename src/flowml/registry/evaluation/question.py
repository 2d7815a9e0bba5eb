"""What a gate is asked: known again when an earlier attempt was asked the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowml import describe, records
from flowml.registry.evaluation.metrics import Own
from flowml.registry.evidence import digest_of
from flowml.registry.rules import Rule
from flowml.store.models import identity
from flowml.store.registered.references import ModelRef, parse

if TYPE_CHECKING:
    from flowml.registry.evaluation.contenders import Contender


@dataclass(frozen=True, slots=True)
class Question:
    """What one call of the gate is asked.

    Attributes:
        candidate: Whom it is about.
        dataset: The rows; None where nothing tells them from others.
        drawn: What the answer depends on beside the rules: the target, and how rows are drawn.
        digest: The digest of all of it but the candidate; None where nothing tells it from others.
    """

    candidate: Contender
    dataset: records.Dataset | None
    drawn: Mapping[str, Any]
    digest: str | None


def question_of(  # noqa: PLR0913 - each by its name
    candidate: Contender,
    data: Any,
    *,
    rules: Sequence[Rule],
    against: Any,
    metrics: Mapping[str, Own],
    drawn: Mapping[str, Any],
    hidden: describe.Hidden | None,
) -> Question:
    """Put a question.

    Args:
        candidate: Whom it is about.
        data: The rows, as the user gave them.
        rules: What is asked.
        against: What names the champion: by an alias it may be another version each time, and the question the same.
        metrics: The user's own metrics, of which only the names are known again.
        drawn: What else the answer depends on.
        hidden: Counts the secrets in the rows.
    """
    found = describe.inputs({"data": data}, {}, hidden)
    dataset = next((each for each in found if isinstance(each, records.Dataset)), None)
    champion = _named(against)
    digest = None
    if dataset and (against is None or champion):
        told = [dataset.digest, champion, [str(rule) for rule in rules], sorted(metrics), drawn]
        digest = digest_of(json.dumps(told, sort_keys=True, default=str))
    return Question(candidate, dataset, drawn, digest)


def _named(against: Any) -> str | None:
    """Return what tells a champion from others."""
    if isinstance(against, str | tuple | ModelRef):
        is_logged = isinstance(against, str) and against.removeprefix("models:/").startswith("m-")
        return str(against) if is_logged else str(parse(against))
    if callable(getattr(against, "predict", None)):
        model_id = getattr(against, "model_id", None)
        return model_id if isinstance(model_id, str) else identity.digest_of(against)
    name, version, model_id = (getattr(against, each, None) for each in ("name", "version", "model_id"))
    return f"{name}/{version}" if version else model_id
