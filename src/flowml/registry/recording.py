"""Where a gate's verdict is kept: on its run in MLflow, in the model's ledger, on its pages in Prefect."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from prefect.context import TaskRunContext

from flowml import describe, formats, mlflow_limits, records
from flowml.capture import attempts
from flowml.capture.links.artifacts import Links
from flowml.capture.links.telling import tell
from flowml.capture.reading import connection_here
from flowml.capture.session import Session, current
from flowml.errors import RegistryError
from flowml.events import vocabulary
from flowml.events.vocabulary import Event
from flowml.registry import evidence, moves
from flowml.registry.evidence import Verdict
from flowml.storable import legal_key
from flowml.store import NO_RUN, flush_all
from flowml.store.backend.connection import Connection
from flowml.store.backend.urls import NOTE
from flowml.store.ledger import Decision, Entry, Ledger, policy
from flowml.store.ledger.moving import MADE_OF

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from mlflow.entities import Metric

    from flowml.capture.guard import Log
    from flowml.registry.evaluation.question import Question

PASSED, EVIDENCE = "flowml.gate", "flowml.gate_evidence"
"""The tags of a gate's run: what it decided, and the digest of the evidence."""

_QUESTION = "question"  # the fact with the digest of what was asked
_ARTIFACT = "gate"  # the key of Prefect's artifact
_MOST_SHOWN = 100_000  # characters of it


@dataclass(frozen=True, slots=True)
class Trail:
    """Keeps what one call of the gate decides.

    Attributes:
        connection: The store where runs and registered models are.
        log: Where the user is told something.
        session: The call, if it is tracked.
        run: Its run; None if it is not tracked.
        task_run_id: Prefect's task run; None outside one.
        flow_run_id: Prefect's flow run; None outside one.
        attempts: The runs in which it is asked, each with the attempt that it is at.
    """

    connection: Connection
    log: Log
    session: Session | None
    run: records.CurrentRun | None
    task_run_id: UUID | None
    flow_run_id: UUID | None
    attempts: Mapping[str, int]

    @property
    def hidden(self) -> describe.Hidden | None:
        """What counts the secrets in the rows."""
        return self.session.hidden if self.session else None

    def earlier(self, model: str | None, question: Question) -> Verdict | None:
        """Return what an earlier attempt of this run answered to the same question: that stands.

        Raises:
            RegistryError: If its evidence is gone, or was changed.
        """
        is_first = all(attempt < 2 for attempt in self.attempts.values())  # noqa: PLR2004 - none is before it
        if model is None or self.run is None or question.digest is None or is_first:
            return None
        entries = Ledger(self.connection.client, model).entries()
        made = [each for each in entries if self._is_answer(each, model, question)]
        own = [each for each in made if each.decision.facts.get(moves.TASK_RUN) == str(self.task_run_id)]
        sort = f"gate {question.digest} {question.candidate.digest or question.candidate.called(model)}"
        number = attempts.nth_of_caller(str(self.task_run_id), sort)
        found = next(iter(own or made[number - 1 : number]), None)
        if found is None:
            return None
        verdict = _verdict_of(self.connection, found)
        self.log.info("flowml: gate: %s\nAn earlier attempt of this run decided that.", verdict)
        return verdict

    def _is_answer(self, entry: Entry, model: str, question: Question) -> bool:
        """Tell whether an earlier attempt of these runs was asked the same about the same model."""
        one, candidate = entry.decision, question.candidate
        is_same = one.kind == "gate" and one.facts.get(_QUESTION) == question.digest
        made = policy.made_of({policy.MADE_AS: candidate.digest, MADE_OF: candidate.model_id})
        version = candidate.called(model)
        is_about = policy.is_about(entry, made) or (one.version is not None and one.version == version)
        told = one.facts.get(moves.ATTEMPTS, {})
        return is_same and is_about and any(told.get(run, attempt) < attempt for run, attempt in self.attempts.items())

    def write(self, verdict: Verdict, question: Question) -> Verdict:
        """Keep a verdict: the evidence first, so that no entry of the ledger is without it.

        Args:
            verdict: What was decided.
            question: What was asked.

        Returns:
            The verdict with its digest, and the run that holds the evidence.

        Raises:
            TrackingError: If MLflow cannot be reached.
            Exception: What MLflow raises.
        """
        dataset = question.dataset
        facts = {**question.drawn, "data": {"name": dataset.name, "digest": dataset.digest} if dataset else None}
        text, digest = evidence.written(verdict, facts)
        verdict = replace(verdict, digest=digest, run_id=self.run.run_id if self.run else None)
        if self.session is None or self.run is None:
            self.log.warning("flowml: the gate is not tracked here, so that nobody will find its verdict.")
            return verdict
        self.session.put([*([dataset] if dataset else []), *_params(question.drawn, verdict)])
        self._write_run(self.run.run_id, verdict, text, _metrics(verdict, question.candidate.model_id, dataset))
        if verdict.model:
            self._append(verdict, question)
        self.log.info("flowml: gate: %s", verdict)
        shown = evidence.markdown(verdict, _MOST_SHOWN)
        Links(self.flow_run_id, self.task_run_id, self.log).show(_ARTIFACT, shown, "What the gate decided")
        if not verdict:
            _tell_refused(verdict)
        return verdict

    def _write_run(self, run_id: str, verdict: Verdict, text: str, metrics: list[Metric]) -> None:
        from mlflow.entities import RunTag

        client = self.connection.client
        client.log_text(run_id, text, evidence.FILE)
        client.log_table(run_id, evidence.columns(verdict), evidence.TABLE)
        before = client.get_run(run_id).data.tags.get(NOTE, "")
        note = evidence.markdown(verdict, mlflow_limits.TAG - len(before) - 2)
        tags = {NOTE: f"{note}\n\n{before}".rstrip(), PASSED: _word(verdict), EVIDENCE: verdict.digest}
        client.log_batch(run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])

    def _append(self, verdict: Verdict, question: Question) -> None:
        client, version = self.connection.client, verdict.candidate or ""
        decision = Decision(
            kind="gate",
            version=version if version.isdigit() else None,
            who=client.get_run(str(verdict.run_id)).data.tags.get("mlflow.user", "unknown"),
            run_id=verdict.run_id,
            flow_run_id=str(self.flow_run_id) if self.flow_run_id else None,
            facts={
                "passed": verdict.passed,
                "evidence": verdict.digest,
                policy.CANDIDATE: question.candidate.model_id,
                policy.MADE_AS: question.candidate.digest,
                "champion": verdict.champion,
                _QUESTION: question.digest,
                moves.TASK_RUN: str(self.task_run_id) if self.task_run_id else None,
                moves.ATTEMPTS: self.attempts,
            },
        )
        Ledger(client, str(verdict.model)).append(decision)


def _tell_refused(verdict: Verdict) -> None:
    """Tell Prefect that a candidate is not good enough."""
    about = {vocabulary.ID: f"mlflow.run.{verdict.run_id}", vocabulary.NAME: "gate"}
    if verdict.model:
        about |= {vocabulary.ID: vocabulary.model(verdict.model), vocabulary.NAME: verdict.model}
    failed = [f"{each.rule}: {each.reason}" for each in verdict.results if each.verdict == "failed"]
    facts = {"model": verdict.model, "candidate": verdict.candidate, "champion": verdict.champion}
    told = {**facts, "said": evidence.headline(verdict), "failed": failed}
    tell(Event(vocabulary.GATE_REFUSED, about, told, same=f"{verdict.run_id} {verdict.digest}"))


def begin() -> Trail:
    """Find where the verdict of the call that is running here goes.

    Raises:
        TrackingError: If MLflow cannot be reached.
    """
    session = current()
    run = session.run.info if session and session.run is not NO_RUN else None
    if run:
        flush_all()  # a model that this flow has trained is to be known by its id
    context = TaskRunContext.get()
    task_run = context.task_run if context else None
    return Trail(
        connection=connection_here(),
        log=session.call.log if session else logging.getLogger("prefect.flowml"),
        session=session,
        run=run,
        task_run_id=task_run.id if task_run else None,
        flow_run_id=task_run.flow_run_id if task_run else None,
        attempts=attempts.here(),
    )


def _verdict_of(connection: Connection, entry: Entry) -> Verdict:
    import mlflow

    run_id, digest = entry.decision.run_id, str(entry.decision.facts.get("evidence"))
    try:
        place = connection.client.get_run(str(run_id)).info.artifact_uri
        text = mlflow.artifacts.load_text(f"{place}/{evidence.FILE}")
        return evidence.read(text, digest=digest, run_id=run_id)
    except Exception as error:
        msg = (
            f"An earlier attempt decided already (entry {entry.number} of the history), and its evidence cannot be "
            f"read from run {run_id}: {error} Call the gate again in a new flow run."
        )
        raise RegistryError(msg) from error


def _params(asked: Mapping[str, Any], verdict: Verdict) -> list[records.Record]:
    told = {
        "candidate": evidence.named(verdict.model, verdict.candidate) or "not logged",
        "champion": evidence.named(verdict.model, verdict.champion) or ("none" if verdict.alone else "not logged"),
        "rules": "\n".join(each.rule for each in verdict.results),
        "target": str(asked["target"]),
    }
    return [records.Param(key, value[: mlflow_limits.PARAM]) for key, value in told.items()]


def _metrics(verdict: Verdict, model_id: str | None, dataset: records.Dataset | None) -> list[Metric]:
    """Return the values as MLflow keeps them; the candidate's are its logged model's too, with the data."""
    from mlflow.entities import Metric

    about = (model_id, dataset.name, dataset.digest) if model_id and dataset else (model_id, None, None)
    now, found = formats.now(), {}
    for each in verdict.results:
        key = legal_key(f"{each.metric} where {each.where}" if each.where else each.metric)[: mlflow_limits.KEY - 11]
        found[key] = Metric(key, each.candidate, now, 0, *about)
        for of, value in (("champion", each.champion), ("difference", each.difference)):
            if value is not None:
                found[f"{of}.{key}"] = Metric(f"{of}.{key}", value, now, 0)
    return list(found.values())


def _word(verdict: Verdict) -> str:
    return "passed" if verdict.passed else "failed"
