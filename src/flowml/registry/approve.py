"""Asks a person whether a version may be released, and keeps who said what, when, why, and what they had seen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from prefect.context import TaskRunContext
from prefect.logging import get_run_logger
from pydantic import ValidationError

from flowml import formats
from flowml.capture import contexts
from flowml.capture.inside import current_run
from flowml.capture.reading import connection_here
from flowml.capture.session import current
from flowml.decorators import task
from flowml.errors import RegistryError
from flowml.records import Tag
from flowml.registry import waiting
from flowml.registry.asking import digest_of, question_text
from flowml.registry.forms import ReleaseForm, accepted, blank, check, problems, required
from flowml.store import flush_all
from flowml.store.ledger import Decision, Entry, Ledger, policy
from flowml.store.registered.references import find, target

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

Outcome: TypeAlias = Literal["approved", "refused", "timed out"]

_NOBODY = "nobody"
_EMPTY = "it was resumed without an answer"


@dataclass(frozen=True, slots=True)
class Approval:
    """What a person decided about a version.

    Attributes:
        approved: Whether it may be released.
        outcome: ``"approved"``, ``"refused"`` or ``"timed out"``.
        who: Who decided; ``"nobody"`` if the time was up.
        why: Their reason.
        at: When.
        evidence: The digest of the gate's evidence that they were shown; None if there was none.
        answer: All that they filled in.
    """

    approved: bool
    outcome: Outcome
    who: str
    why: str
    at: datetime
    evidence: str | None
    answer: Mapping[str, Any]


def approve(  # noqa: PLR0913 - each by its name
    model: Any,
    version: Any = None,
    *,
    form: type[ReleaseForm] = ReleaseForm,
    timeout: float | timedelta | None = None,
    why: str = "",
    key: str = "",
) -> Approval:
    """Ask a person whether a version may be released, and wait for the answer.

    The flow run of a deployment is suspended: no process and no slot is held while it waits, and its code runs again
    from the top when somebody has answered. Any other flow waits in its process. It is answered in Prefect's UI, by
    ``flowml approve``, or through Prefect's API. An answer that the form does not accept is asked for again.

    Within one flow run a version is decided on once: where the code runs again, the decision is found.

    Args:
        model: The registered model's name, or ``"prompts:/<name>"``; or what names a version by itself, such as
            ``"prompts:/summarize/3"`` or a `PromptVersion`.
        version: The version: its number, or what `register` returned.
        form: What is asked; a subclass of `ReleaseForm`.
        timeout: Seconds, or a `timedelta`, after which nobody's answer counts any more. Default: it waits for ever.
        why: Why it is asked, shown above the form.
        key: Tells questions about the same version in one flow run apart, where two people are to approve.

    Returns:
        The decision. A refusal and the end of the time are decisions too.

    Raises:
        RegistryError: If there is no such version, or it is asked where no flow can wait.

    Example:
        >>> decision = flowml.approve("churn", 7, timeout=timedelta(days=2))
        >>> if decision.approved:
        ...     flowml.promote("churn", 7)
    """
    flow_run = _flow_run_here()
    check(form)
    model, version = target(model, getattr(version, "version", version))
    number = str(version)
    flush_all()  # a version that this flow has registered is to be there
    client = connection_here().client
    found = find(client, (model, number))
    ledger = Ledger(client, str(found.name))
    entries = ledger.entries()
    if before := decided(entries, str(flow_run.id), number, key):
        get_run_logger().info("flowml: %s/%s was %s already in this flow run.", model, number, outcome_of(before))
        return _approval(before)
    shown = policy.gate_of(number, policy.made_of(policy.facts_of(found)), entries)
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    now = formats.now()
    question = waiting.Question(
        slug=_slug(model, number, key),
        model=model,
        version=number,
        asked=now,
        until=None if seconds is None else now + round(seconds * 1000),
        evidence=digest_of(shown) if shown else None,
        required=tuple(required(form)),
    ).kept(flow_run.id)
    gates = (entry for entry in entries if entry.decision.kind == "gate")
    shown = next((entry for entry in gates if digest_of(entry) == question.evidence), None)  # the same, asked again
    return _record(question, key, *_ask(flow_run, question, form, shown, why))


def _ask(
    flow_run: FlowRun, question: waiting.Question, form: type[ReleaseForm], shown: Entry | None, why: str
) -> tuple[ReleaseForm | None, int]:
    """Ask until an answer is accepted, or the time is up; return it, and when it came."""
    problem, number = "", 0
    while True:
        text = question_text(question, flow_run, shown, why=why, problem=problem)
        answer = waiting.wait(flow_run, question, blank(form, text), number)
        if question.until is not None and answer.at > question.until:
            return None, answer.at
        try:
            if answer.given is not None:
                return accepted(form, answer.given), answer.at
            problem = _EMPTY
            if question.seconds_left() <= 0:
                return None, formats.now()
        except ValidationError as error:
            problem = problems(error)
        get_run_logger().warning(
            "flowml: the answer about %s/%s is not accepted, and asked for again: %s.",
            question.model,
            question.version,
            problem,
        )
        number += 1


def _record(question: waiting.Question, key: str, answer: ReleaseForm | None, at: int) -> Approval:
    given = answer.model_dump(mode="json") if answer else {}
    outcome: Outcome = "timed out" if answer is None else "approved" if answer.approve else "refused"
    who = answer.who if answer else _NOBODY
    why = answer.why if answer else f"Nobody answered in {formats.duration((at - question.asked) / 1000)}."
    more = {name: value for name, value in given.items() if name not in {"approve", "why", "who"}}
    facts = {
        "approved": outcome == "approved",
        "outcome": outcome,
        "evidence": question.evidence,
        "asked": question.asked,
        "key": key,
        "answer": more,
    }
    known = {name: value for name, value in facts.items() if value not in (None, "", {})}
    return _approval(_decide(question.model, question.version, outcome, who, why, at, known))


@task(name="approve", task_run_name="approve {model}/{version}: {outcome}", persist_result=False)
def _decide(  # noqa: PLR0913, PLR0917 - a task's parameters, which its run shows
    model: str, version: str, outcome: str, who: str, why: str, at: int, facts: dict[str, Any]
) -> Entry:
    """Keep a person's decision about a version in the model's ledger."""
    context = TaskRunContext.get()
    flow_run_id = str(context.task_run.flow_run_id) if context else ""
    ledger = Ledger(connection_here().client, model)
    entry = decided(ledger.entries(), flow_run_id, version, facts.get("key", ""))
    if entry is None:
        run = current_run()
        decision = Decision(
            kind="approval",
            version=version,
            who=who,
            why=why,
            at=at,
            run_id=run.run_id if run else None,
            flow_run_id=flow_run_id,
            facts={**facts, "task_run": str(context.task_run.id)} if context else facts,
        )
        entry = ledger.append(decision)
    if session := current():
        tags = {"decision": "approval", "model_version": f"{model}/{version}", "outcome": outcome, "who": who}
        tags["ledger_entry"] = str(entry.number)
        session.put([Tag(f"flowml.{name}", value) for name, value in tags.items()])
    return entry


def decided(entries: list[Entry], flow_run_id: str, version: str, key: str = "") -> Entry | None:
    """Return the decision that a flow run has come to already about a version."""
    for entry in entries:
        one = entry.decision
        if (one.kind, one.flow_run_id, one.version, one.facts.get("key", "")) == (
            "approval",
            flow_run_id,
            version,
            key,
        ):
            return entry
    return None


def outcome_of(entry: Entry) -> Outcome:
    """Return how an approval ended."""
    facts = entry.decision.facts
    known: Outcome = facts.get("outcome") or ("approved" if facts.get("approved") else "refused")
    return known


def _approval(entry: Entry) -> Approval:
    one, outcome = entry.decision, outcome_of(entry)
    answer = dict(one.facts.get("answer", {}))
    if outcome != "timed out":
        answer |= {"approve": outcome == "approved", "why": one.why, "who": one.who}
    return Approval(
        approved=outcome == "approved",
        outcome=outcome,
        who=one.who,
        why=one.why,
        at=datetime.fromtimestamp(one.at / 1000, timezone.utc),
        evidence=one.facts.get("evidence"),
        answer=answer,
    )


def _flow_run_here() -> FlowRun:
    if contexts.task_here() is not None:
        msg = "flowml.approve waits for a person, which a task cannot. Call it in the flow, between its tasks."
        raise RegistryError(msg)
    context = contexts.flow_here()
    if context is None or context.flow_run is None:
        msg = "flowml.approve is called outside a flow. Call it in a flow: Prefect keeps the question with its run."
        raise RegistryError(msg)
    return context.flow_run


def _slug(model: str, version: str, key: str) -> str:
    """Name a question: Prefect's keys hold no other characters, and names that differ must stay so."""
    name = f"{model}-{version}-{key}" if key else f"{model}-{version}"
    plain = re.sub(r"[^a-z0-9-]", "-", name.lower())
    return plain[:80] + ("" if plain == name and len(name) <= 80 else f"-{sha256(name.encode()).hexdigest()[:8]}")  # noqa: PLR2004 - as above
