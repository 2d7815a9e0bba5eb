"""All that a store holds, as plain values: those of a copy under the ids of what it was made from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts, list_artifacts

_MARKS = ("flowml.copied_from", "flowml.copied", "flowml.synced")
_ABOUT_THE_PLACE = ("mlflow.artifactLocation",)
_AFTER = ("creation_time", "last_updated")


def snapshot(client: MlflowClient, scratch: Path, *, own_ids: bool = False) -> dict[str, Any]:
    """Read a whole store.

    Args:
        client: MLflow's client for it.
        scratch: A folder for its artifacts.
        own_ids: Keep its ids also where they are those of copies.
    """
    reader = _Reader(client, scratch)
    if not own_ids:
        reader.learn()
    return reader.read()


class _Reader:
    def __init__(self, client: MlflowClient, scratch: Path) -> None:
        self.client, self.scratch = client, scratch
        self.back: dict[str, str] = {}
        self.experiments = {one.experiment_id: one for one in client.search_experiments()}
        found = client.search_runs(list(self.experiments), max_results=5000)
        self.runs = [run for run in found if run.data.tags.get("flowml.kind") != "ledger"]  # each store has its own
        self.models = list(client.search_logged_models(list(self.experiments), max_results=1000))
        versions = client.search_model_versions(max_results=1000)
        self.versions = [client.get_model_version(one.name, one.version) for one in versions]
        self.numbers: dict[tuple[str, str], str] = {}

    def learn(self) -> None:
        for run in self.runs:
            self.back[run.info.run_id] = run.data.tags.get("flowml.copied_from", run.info.run_id)
        for model in self.models:
            self.back[model.model_id] = model.tags.get("flowml.copied_from", model.model_id)
        for one in self.versions:
            if old := one.tags.get("flowml.copied_from"):
                self.numbers[one.name, str(one.version)] = re.search(r"/(\d+)@", old)[1]

    def read(self) -> dict[str, Any]:
        traces = self.client.search_traces(locations=list(self.experiments), max_results=500)
        return {
            "experiments": sorted(self.experiments[run.info.experiment_id].name for run in self.runs),
            "runs": {self.back.get(run.info.run_id, run.info.run_id): self.run(run.info.run_id) for run in self.runs},
            "models": {self.back.get(one.model_id, one.model_id): self.model(one) for one in self.models},
            "registered": self.registered(),
            "prompts": {one.name: self.prompt(one) for one in self.client.search_prompts()},
            "traces": {trace.info.trace_id: self.trace(trace) for trace in traces},
        }

    def text(self, text: str | None) -> str | None:
        if text is None:
            return None
        for new, old in self.back.items():
            text = text.replace(new, old)
        text = re.sub(r"#/experiments/(\d+)", lambda found: f"#/experiments/{self.experiments[found[1]].name}", text)
        return re.sub(
            r"(#/models/([^/]+)/versions/)(\d+)", lambda found: found[1] + self.number(found[2], found[3]), text
        )

    def number(self, name: str, number: str) -> str:
        return self.numbers.get((name, str(number)), str(number))

    def tags(self, tags: dict[str, str]) -> dict[str, Any]:
        kept = {key: value for key, value in tags.items() if key not in (*_MARKS, *_ABOUT_THE_PLACE)}
        return {self.text(key): self.text(value) for key, value in kept.items()}

    def run(self, run_id: str) -> dict[str, Any]:
        run = self.client.get_run(run_id)
        info, data = run.info, run.data
        keys = ("run_name", "status", "start_time", "end_time", "lifecycle_stage", "user_id")
        history = {
            key: sorted(
                (one.step, one.timestamp, repr(one.value)) for one in self.client.get_metric_history(run_id, key)
            )
            for key in data.metrics
        }
        return {
            **{key: getattr(info, key) for key in keys},
            "experiment": self.experiments[info.experiment_id].name,
            "tags": self.tags(data.tags),
            "params": data.params,
            "last": {key: repr(value) for key, value in data.metrics.items()},
            "metrics": history,
            "datasets": sorted(map(self.dataset, run.inputs.dataset_inputs), key=repr),
            "read": sorted(self.back.get(one.model_id, one.model_id) for one in run.inputs.model_inputs),
            "made": sorted((self.back.get(one.model_id, one.model_id), one.step) for one in run.outputs.model_outputs),
            "files": self.files(info.artifact_uri),
        }

    def dataset(self, one: Any) -> Any:
        of = one.dataset
        tags = sorted((tag.key, self.text(tag.value)) for tag in one.tags)
        return [of.name, of.digest, of.source_type, self.text(of.source), of.schema, of.profile, tags]

    def model(self, model: Any) -> dict[str, Any]:
        metrics = [
            (one.key, repr(one.value), one.step, one.timestamp, one.dataset_name, self.back.get(one.run_id, one.run_id))
            for one in model.metrics or []
        ]
        return {
            "name": model.name,
            "type": model.model_type or None,  # a server says nothing by an empty text
            "status": model.status,
            "run": self.back.get(model.source_run_id, model.source_run_id),
            "params": model.params,
            "tags": self.tags(model.tags),
            "metrics": sorted(metrics),
            "files": self.files(model.artifact_location),
        }

    def registered(self) -> dict[str, Any]:
        found = {}
        for model in self.client.search_registered_models(max_results=100):
            versions = {
                self.number(one.name, one.version): {
                    "run": self.back.get(one.run_id, one.run_id),
                    "tags": self.tags(one.tags),
                    "description": self.text(one.description) or None,
                    "aliases": sorted(one.aliases),
                    "status": one.status,
                    "files": sorted(self.files(self.place(one))),
                }
                for one in self.versions
                if one.name == model.name
            }
            tags = {key: value for key, value in model.tags.items() if key != "flowml.ledger"}  # each store has its own
            found[model.name] = [model.description or None, tags, versions]
        return found

    def prompt(self, prompt: Any) -> list[Any]:
        numbers = sorted(int(one.version) for one in self.client.search_prompt_versions(prompt.name))
        versions = [self.client.get_prompt_version(prompt.name, number) for number in numbers]
        found = [(one.template, one.commit_message, self.tags(one.tags), one.aliases) for one in versions]
        tags = {key: value for key, value in prompt.tags.items() if key != "flowml.ledger"}  # each store has its own
        return [prompt.description, tags.pop("_mlflow_experiment_ids", "").count(","), tags, found]

    def place(self, version: Any) -> str:
        if not version.source.startswith("models:/"):
            return version.source
        return self.client.get_logged_model(version.source.removeprefix("models:/")).artifact_location

    def trace(self, trace: Any) -> dict[str, Any]:
        info = trace.info
        return {
            "times": (info.request_time, info.execution_duration, info.state.value),
            "previews": (info.request_preview, info.response_preview),
            "tags": self.tags(info.tags),
            "metadata": self.tags(info.trace_metadata),
            "spans": sorted((span.to_dict() for span in trace.data.spans), key=repr),
        }

    def files(self, place: str) -> dict[str, str]:
        """Return the contents of all artifacts by path."""
        if not list_artifacts(place, tracking_uri=self.client.tracking_uri):
            return {}
        folder = self.scratch / re.sub(r"\W+", "-", place)
        folder.mkdir(parents=True, exist_ok=True)
        got = Path(download_artifacts(place, dst_path=str(folder), tracking_uri=self.client.tracking_uri))
        return {
            file.relative_to(got).as_posix(): self.content(file) for file in sorted(got.rglob("*")) if file.is_file()
        }

    def content(self, file: Path) -> str:
        if file.name == "MLmodel":
            text = self.text(file.read_text())
            return re.sub(r"artifact_path: .*/models/", "artifact_path: /models/", text)
        return repr(file.read_bytes())
