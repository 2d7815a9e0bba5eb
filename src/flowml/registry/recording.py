"""Where a gate's verdict is kept: on its run in MLflow, in the model's ledger, on its pages in Prefect."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from prefect.context import TaskRunContext

from flowml import describe, formats, mlflow_limits, records
from flowml.capture.links.artifacts import Links
from flowml.capture.reading import connection_here
from flowml.capture.session import Session, current
from flowml.errors import RegistryError
from flowml.registry import evidence
from flowml.registry.evidence import Verdict
from flowml.storable import legal_key
from flowml.store import NO_RUN, flush_all
from flowml.store.backend.connection import Connection
from flowml.store.backend.urls import NOTE
from flowml.store.ledger import Decision, Entry, Ledger, policy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from mlflow.entities import Metric

    from flowml.capture.guard import Log
    from flowml.registry.evaluation.contenders import Contender

PASSED, EVIDENCE = "flowml.gate", "flowml.gate_evidence"
"""The tags of a gate's run: what it decided, and the digest of the evidence."""

_TASK_RUN = "task_run"  # the fact that tells which task run decided
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
        attempt: Which attempt at the task run it is.
    """

    connection: Connection
    log: Log
    session: Session | None
    run: records.CurrentRun | None
    task_run_id: UUID | None
    flow_run_id: UUID | None
    attempt: int

    def earlier(self, model: str | None) -> Verdict | None:
        """Return what an earlier attempt at this task run decided: that stands, and is not decided again.

        Raises:
            RegistryError: If its evidence is gone, or was changed.
        """
        if model is None or self.attempt < 2 or self.run is None:  # noqa: PLR2004 - the first one has none before it
            return None
        mine = (each for each in Ledger(self.connection.client, model).entries() if self._is_mine(each))
        found = next(mine, None)
        return _verdict_of(self.connection, found) if found else None

    def _is_mine(self, entry: Entry) -> bool:
        return entry.decision.kind == "gate" and entry.decision.facts.get(_TASK_RUN) == str(self.task_run_id)

    def write(self, verdict: Verdict, data: Any, asked: Mapping[str, Any], candidate: Contender) -> Verdict:
        """Keep a verdict: the evidence first, so that no entry of the ledger is without it.

        Args:
            verdict: What was decided.
            data: The rows, as the user gave them.
            asked: What else belongs to the evidence.
            candidate: Whom it is about.

        Returns:
            The verdict with its digest, and the run that holds the evidence.

        Raises:
            TrackingError: If MLflow cannot be reached.
            Exception: What MLflow raises.
        """
        dataset = self._dataset(data)
        facts = {**asked, "data": {"name": dataset.name, "digest": dataset.digest} if dataset else None}
        text, digest = evidence.written(verdict, facts)
        verdict = replace(verdict, digest=digest, run_id=self.run.run_id if self.run else None)
        if self.session is None or self.run is None:
            self.log.warning("flowml: the gate is not tracked here, so that nobody will find its verdict.")
            return verdict
        self.session.put([*([dataset] if dataset else []), *_params(asked, verdict)])
        self._write_run(self.run.run_id, verdict, text, _metrics(verdict, candidate.model_id, dataset))
        if verdict.model:
            self._append(verdict, candidate)
        self.log.info("flowml: gate: %s", verdict)
        shown = evidence.markdown(verdict, _MOST_SHOWN)
        Links(self.flow_run_id, self.task_run_id, self.log).show(_ARTIFACT, shown, "What the gate decided")
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

    def _append(self, verdict: Verdict, candidate: Contender) -> None:
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
                policy.CANDIDATE: candidate.model_id,
                policy.MADE_AS: candidate.digest,
                "champion": verdict.champion,
                _TASK_RUN: str(self.task_run_id) if self.task_run_id else None,
            },
        )
        Ledger(client, str(verdict.model)).append(decision)

    def _dataset(self, data: Any) -> records.Dataset | None:
        hidden = self.session.hidden if self.session else None
        found = describe.inputs({"data": data}, {}, hidden)
        return next((each for each in found if isinstance(each, records.Dataset)), None)


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
        attempt=task_run.run_count if task_run else 1,
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
