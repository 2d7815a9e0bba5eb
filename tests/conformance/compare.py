"""All that an MLflow has of one case, as facts that are counted: equal value by value, and twice where it is twice."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run

Facts: TypeAlias = "Counter[str]"

_TIMES_AND_IDS = {
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}": "<uuid>",
    r"\b(m-)?[0-9a-f]{32}\b": "<unknown id>",
    r"http://127\.0\.0\.1:\d+": "<server>",
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.:+Z]*": "<time>",
    r"\b\d+(\.\d+)? ?(ms|s|min|h)\b": "<duration>",
    r"experiments/\d+": "experiments/<id>",
    r"<!-- flowml [0-9a-f]{16} -->": "<digest of the note>",
    r"mlflow-artifacts:/\d+": "mlflow-artifacts:/<id>",
    r"\b1\d{14}\b": "<address in memory>",  # by which a model's .skops names its parts
}
_TEXTS = {".txt", ".md", ".svg", ".json", ".yaml", ".html", ".csv", ""}


@dataclass(frozen=True, slots=True)
class Mlflow:
    """A running MLflow server.

    Attributes:
        address: Where it listens.
        artifacts: The folder in which it keeps files.
    """

    address: str
    artifacts: Path


@dataclass(slots=True)
class Reading:
    """What is read of one case.

    Attributes:
        case: The name of the experiment, and how registered models begin.
        changing: Tags whose values are never the same.
        runs: Its runs by id.
        names: The words for ids.
    """

    case: str
    changing: frozenset[str]
    runs: Mapping[str, Run] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def label(self, run: Run) -> str:
        """Return what a run is called, with its number if it is not the first attempt."""
        attempt = run.data.tags.get("flowml.attempt", "1")
        return f"{run.info.run_name}{f' (attempt {attempt})' if attempt != '1' else ''}"

    def path(self, run: Run) -> str:
        """Return the labels from the outermost run to this one."""
        above = run.data.tags.get("mlflow.parentRunId")
        if above is None:
            return self.label(run)
        return f"{self.path(self.runs[above]) if above in self.runs else 'LOST'} / {self.label(run)}"

    def plain(self, text: object) -> str:
        """Return a text with names in place of ids, without times and places, its lines in order."""
        said = str(text)
        for each, name in self.names.items():
            said = said.replace(each, f"<{name}>")
        said = re.sub(rf"\b{re.escape(self.case)}\b", "<case>", said)
        for pattern, name in _TIMES_AND_IDS.items():
            said = re.sub(pattern, name, said)
        said = re.sub(r"/\S*/(?=<unknown id>)", "<folder>/", said)
        return "\n".join(sorted(said.splitlines()))


def read(mlflow: Mlflow, case: str, changing: frozenset[str] = frozenset()) -> Facts:
    """Read all that there is of a case.

    Args:
        mlflow: The server.
        case: The name of the experiment, and how registered models begin.
        changing: Tags whose values are never the same, such as the number of a process.
    """
    client = MlflowClient(mlflow.address)
    experiment = client.get_experiment_by_name(case)
    if experiment is None:
        return Counter()
    runs = client.search_runs([experiment.experiment_id], max_results=50_000)
    reading = Reading(case, changing, {run.info.run_id: run for run in runs})
    models = _logged_models(client, experiment.experiment_id)
    reading.names = {run.info.run_id: reading.path(run) for run in runs}
    reading.names |= {model.model_id: f"model {model.name}" for model in models}
    kept = mlflow.artifacts / str(experiment.experiment_id)
    facts = Counter[str]()
    for run in runs:
        facts.update(f"{reading.path(run)}: {fact}" for fact in _of_run(client, reading, run))
        facts.update(f"{reading.path(run)}: {fact}" for fact in _files(reading, kept / run.info.run_id))
    for model in models:
        facts.update(f"model {model.name}: {fact}" for fact in _of_model(reading, model))
        facts.update(f"model {model.name}: {fact}" for fact in _files(reading, kept / "models" / model.model_id))
    facts.update(_versions(client, reading))
    facts.update(_strays(kept, reading))
    return facts


def difference(expected: Facts, found: Facts) -> list[str]:
    """Say what differs, a line for each fact; empty if nothing does."""
    missing = [f"- {fact[:400]}" for fact in (expected - found).elements()]
    more = [f"+ {fact[:400]}" for fact in (found - expected).elements()]
    return sorted(missing + more, key=lambda line: line[2:])


def _of_run(client: MlflowClient, reading: Reading, run: Run) -> Iterator[str]:
    ended = run.info.end_time is not None and run.info.end_time >= run.info.start_time
    yield f"is {run.info.status}{'' if ended else ', and has no end'}"
    for key, value in run.data.params.items():
        yield f"param {key} = {reading.plain(value)}"
    for key, last in run.data.metrics.items():
        yield f"metric {key} = {last}"
        for point in client.get_metric_history(run.info.run_id, key):
            yield f"metric {key} at step {point.step} = {point.value}"
    for key, value in run.data.tags.items():
        yield f"tag {key} = {'...' if key in reading.changing else reading.plain(value)}"
    for given in run.inputs.dataset_inputs:
        roles = sorted(f"{tag.key}={tag.value}" for tag in given.tags)
        yield f"dataset {given.dataset.name} {given.dataset.digest} {roles} {reading.plain(given.dataset.schema)}"
    for model in run.inputs.model_inputs:
        yield f"was given {reading.plain(model.model_id)}"
    for model in run.outputs.model_outputs:
        yield f"made {reading.plain(model.model_id)}"


def _of_model(reading: Reading, model: LoggedModel) -> Iterator[str]:
    yield f"is {model.status}, of {reading.plain(model.source_run_id)}"
    for key, value in (model.params or {}).items():
        yield f"param {key} = {reading.plain(value)}"
    for metric in model.metrics or []:
        yield f"metric {metric.key} of {metric.dataset_name} = {metric.value}"
    for key, value in (model.tags or {}).items():
        yield f"tag {key} = {reading.plain(value)}"


def _logged_models(client: MlflowClient, experiment_id: str) -> list[LoggedModel]:
    found: list[LoggedModel] = []
    token = None
    while True:
        page = client.search_logged_models([experiment_id], page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _versions(client: MlflowClient, reading: Reading) -> Iterator[str]:
    for model in client.search_registered_models(f"name LIKE '{reading.case}-%'"):
        yield f"registered {reading.plain(model.name)}: aliases {sorted(model.aliases)}"
        for version in client.search_model_versions(f"name = '{model.name}'"):
            whole = client.get_model_version(model.name, version.version)
            tags = sorted(f"{key}={reading.plain(value)}" for key, value in whole.tags.items())
            of = f"{reading.plain(whole.source)} of {reading.plain(whole.run_id)}"
            yield f"version of {reading.plain(model.name)}: {whole.status}, {of}, {sorted(whole.aliases)}, {tags}"
            yield f"version of {reading.plain(model.name)}: {reading.plain(whole.description)}"


def _files(reading: Reading, folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield f"file {path.relative_to(folder / 'artifacts').as_posix()} is {_digest(reading, path)}"


def _digest(reading: Reading, path: Path) -> str:
    if path.suffix == ".skops":
        with zipfile.ZipFile(path) as archive:
            parts = sorted(reading.plain(archive.read(name)) for name in archive.namelist())
        content = "\n".join(parts).encode()
    elif path.suffix in _TEXTS:
        content = reading.plain(path.read_text()).encode()
    else:
        content = path.read_bytes()
    return f"{hashlib.sha256(content).hexdigest()[:16]}, {len(content)} B"


def _strays(kept: Path, reading: Reading) -> Iterable[str]:
    """Name the folders with files that belong to no run and no model."""
    folders = [*kept.glob("*"), *kept.glob("models/*")]
    for folder in folders:
        if folder.name not in reading.names and folder.name != "models" and any(folder.rglob("*")):
            yield f"files of nobody: {[path.name for path in folder.rglob('*') if path.is_file()]}"
