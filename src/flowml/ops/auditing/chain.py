"""The links that lead from a version of a registered model back to its data and code, and on to who let it pass."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from flowml.provenance import files
from flowml.registry import history
from flowml.store.backend.paging import paged
from flowml.store.ledger import Entry, policy
from flowml.store.ledger.moving import HOW, OUTSIDE

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion

_MISSING = "RESOURCE_DOES_NOT_EXIST"


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain.

    Attributes:
        name: What it is.
        facts: What is known of it.
        missing: Why it is not there; empty where it is.
    """

    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """All links of a version.

    Attributes:
        model: The registered model's name.
        version: The version.
        aliases: The aliases that it has now.
        links: The links, from the data to the moves of aliases and where it is served.
        wrong: What was changed after it was written, if that was looked for.
    """

    model: str
    version: str
    aliases: tuple[str, ...]
    links: tuple[Link, ...]
    wrong: tuple[str, ...] = ()

    @property
    def missing(self) -> list[Link]:
        """The links that are not there."""
        return [link for link in self.links if link.missing]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self) | {"complete": not self.missing, "links": [asdict(link) for link in self.links]}


@dataclass(frozen=True, slots=True)
class _Known:
    client: mlflow.MlflowClient
    version: ModelVersion
    run: Run | None
    flow: Run | None
    entries: Sequence[Entry]
    model_id: str | None
    logged: LoggedModel | None


def chain_of(client: mlflow.MlflowClient, version: ModelVersion) -> Chain:
    """Follow a version back and forth.

    Args:
        client: MLflow's client.
        version: The version.

    Raises:
        Exception: What MLflow raises if it cannot be asked.
    """
    name, number = str(version.name), str(version.version)
    entries = history.entries_of(client, name)
    run = _run(client, version.run_id)
    flow = _run(client, run.data.tags.get("flowml.root_run_id") or run.info.run_id) if run else None
    model_id = policy.model_id_of(version)
    known = _Known(client, version, run, flow, entries, model_id, _logged(client, model_id))
    followed = (_data, _code, _run_link, _metrics, _model, _gate, _approval, _moves, _serving)
    aliases = client.get_registered_model(name).aliases
    has = tuple(sorted(alias for alias, each in aliases.items() if str(each) == number))
    return Chain(name, number, has, tuple(follow(known) for follow in followed))


def _run(client: mlflow.MlflowClient, run_id: str | None) -> Run | None:
    """Return a run; None if there is none, or it is deleted."""
    from mlflow.exceptions import MlflowException

    if not run_id:
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != _MISSING:
            raise
        return None
    return run if run.info.lifecycle_stage == "active" else None


def _run_link(known: _Known) -> Link:
    if known.run is None:
        which = f"run {known.version.run_id} is deleted" if known.version.run_id else "the version names no run"
        return Link("run", missing=f"{which}: nobody knows how it was made")
    tags = known.run.data.tags
    facts = {
        "run_id": known.run.info.run_id,
        "name": known.run.info.run_name,
        "user": tags.get("mlflow.user"),
        "flow": tags.get("prefect.flow_name"),
        "flow_run": tags.get("prefect.flow_run_url") or tags.get("prefect.flow_run_id"),
        "task": tags.get("prefect.task_name"),
        "params": dict(known.run.data.params),
    }
    return Link("run", facts)


def _data(known: _Known) -> Link:
    if known.run is None:
        return Link("data", missing="there is no run that names it")
    used = list(known.run.inputs.dataset_inputs if known.run.inputs else [])
    if not used and known.flow is not None:  # the task that fitted may have been given what another one read
        used = list(known.flow.inputs.dataset_inputs if known.flow.inputs else [])
    if not used:
        return Link("data", missing=f"run {known.run.info.run_id} names no dataset")
    sets = [
        {"name": each.dataset.name, "digest": each.dataset.digest, "source": _source(each.dataset.source)}
        for each in used
    ]
    return Link("data", {"datasets": sets})


def _source(text: str | None) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


def _code(known: _Known) -> Link:
    tags = {**(known.run.data.tags if known.run else {}), **(known.flow.data.tags if known.flow else {})}
    commit = tags.get(files.COMMIT)
    if not commit:
        return Link("code", missing="no commit is known: the flow did not run from a git repository")
    facts = {"commit": commit, "entrypoint": tags.get(files.ENTRYPOINT) or tags.get("mlflow.source.name")}
    if tags.get(files.DIRTY) != "true":
        return Link("code", facts | {"dirty": False})
    root = known.flow or known.run
    kept = root is not None and any(
        each.path == files.DIFF for each in known.client.list_artifacts(root.info.run_id, files.FOLDER)
    )
    if not kept:
        return Link("code", facts | {"dirty": True}, "the code had changes that no commit has, and they are not kept")
    return Link("code", facts | {"dirty": True, "diff": files.DIFF, "of_run": root.info.run_id if root else ""})


def _metrics(known: _Known) -> Link:
    of_run = dict(known.run.data.metrics) if known.run else {}
    of_model = {each.key: each.value for each in known.logged.metrics or []} if known.logged else {}
    if not of_run and not of_model:
        return Link("metrics", missing="nothing was measured")
    return Link("metrics", {"of_run": of_run, "of_model": of_model})


def _model(known: _Known) -> Link:
    facts = {"source": known.version.source, "model_id": known.model_id}
    if known.logged:
        return Link("model", facts | {"name": known.logged.name, "at": known.logged.artifact_location})
    if known.model_id:
        return Link("model", facts, f"the logged model {known.model_id} is deleted")
    return Link("model", facts, "" if known.version.source else "the version names no files")


def _logged(client: mlflow.MlflowClient, model_id: str | None) -> LoggedModel | None:
    """Return a logged model; None if there is none, or it is deleted."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_logged_model(model_id) if model_id else None
    except MlflowException as error:
        if error.error_code != _MISSING:
            raise
        return None


def _gate(known: _Known) -> Link:
    entry = policy.gate_of(str(known.version.version), policy.made_of(policy.facts_of(known.version)), known.entries)
    if entry is None:
        return Link("gate", missing="no gate has compared it (flowml.gate)")
    facts = _told(entry) | {"champion": entry.decision.facts.get("champion")}
    if not entry.decision.facts.get("passed"):
        return Link("gate", facts | {"passed": False}, f"it failed its gate (decision {entry.number})")
    if _run(known.client, entry.decision.run_id) is None:
        return Link("gate", facts, f"the run {entry.decision.run_id} with the gate's evidence is deleted")
    return Link("gate", facts | {"passed": True, "evidence": entry.decision.facts.get("evidence")})


def _approval(known: _Known) -> Link:
    found = policy.approvals_of(str(known.version.version), known.entries)
    if not found:
        return Link("approval", missing="nobody has approved it (flowml.approve)")
    facts = {"approvals": [_told(entry) | {"saw": entry.decision.facts.get("evidence")} for entry in found]}
    gate = policy.gate_of(str(known.version.version), policy.made_of(policy.facts_of(known.version)), known.entries)
    if gate and gate.number > found[-1].number:
        return Link("approval", facts, f"it was approved before its last gate (decision {gate.number})")
    return Link("approval", facts)


def _moves(known: _Known) -> Link:
    mine = [entry for entry in _all_moves(known.entries) if entry.decision.version == str(known.version.version)]
    if not mine:
        return Link("moves", missing="it never had an alias")
    told = [_told(entry) | {"alias": entry.decision.alias, "before": entry.decision.was} for entry in mine]
    outside = [entry.number for entry in mine if entry.decision.facts.get(HOW) == OUTSIDE]
    if mine[-1].number in outside:
        return Link("moves", {"moves": told}, f"decision {outside[-1]} was made outside flowml: nobody knows why")
    return Link("moves", {"moves": told})


def _all_moves(entries: Sequence[Entry]) -> Iterator[Entry]:
    return (entry for entry in entries if entry.decision.kind == "move")


def _told(entry: Entry) -> dict[str, Any]:
    one = entry.decision
    return {
        "decision": entry.number,
        "digest": entry.digest,
        "who": one.who,
        "why": one.why,
        "at": history.time_of(one.at).isoformat(),
        "run_id": one.run_id,
    }


def _serving(known: _Known) -> Link:
    """Tell where a flow has served it, and which servers have asked it; a version need not be served."""
    mine = f"tags.`flowml.model_version` = '{known.version.name}/{known.version.version}'"
    experiments = [each.experiment_id for each in paged(known.client.search_experiments)]
    found = paged(partial(known.client.search_runs, experiments, mine, order_by=["attributes.start_time ASC"]))
    served = [
        {
            "at": run.data.tags.get("flowml.served_at") or run.info.run_name,
            "since": run.info.start_time,
            "run_id": run.info.run_id,
        }
        for run in found
        if "flowml.served_at" in run.data.tags or run.data.tags.get("flowml.kind") == "serving"
    ]
    return Link("serving", {"served": served} if served else {})
