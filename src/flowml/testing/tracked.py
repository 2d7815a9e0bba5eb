"""Runs as a test wants to look at them: read back from the store, by the name of the flow or task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from flowml import errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True)
class TrackedRun:
    """A run that a flow or task left, or one that was opened by hand.

    Attributes:
        run_id: Its id in MLflow.
        name: The name of the flow or task; of a run that was opened by hand, its own.
        kind: ``"flow"``, ``"task"``, or ``"mlflow"`` for one that was opened by hand.
        status: How it ended: ``"FINISHED"``, ``"FAILED"``, ``"KILLED"``; or ``"RUNNING"``.
        params: Its parameters, which MLflow keeps as text.
        metrics: The last value of each metric.
        tags: Its tags, MLflow's and flowml's own among them.
        parent_id: The id of the run above; None for an outermost one.
    """

    run_id: str
    name: str
    kind: str
    status: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    parent_id: str | None
    _run: Run = field(repr=False)
    _client: MlflowClient = field(repr=False)

    @classmethod
    def of(cls, run: Run, client: MlflowClient) -> TrackedRun:
        """Read one of MLflow's."""
        tags = run.data.tags
        own = tags.get("prefect.task_name") or tags.get("prefect.flow_name")
        return cls(
            run_id=run.info.run_id,
            name=(own if "flowml.kind" in tags else None) or run.info.run_name,
            kind=tags.get("flowml.kind", "mlflow"),
            status=run.info.status,
            params=dict(run.data.params),
            metrics=dict(run.data.metrics),
            tags=dict(tags),
            parent_id=tags.get("mlflow.parentRunId"),
            _run=run,
            _client=client,
        )

    def history(self, metric: str) -> list[float]:
        """Return all values of a metric, in the order of their steps."""
        points = self._client.get_metric_history(self.run_id, metric)
        return [point.value for point in sorted(points, key=lambda point: (point.step, point.timestamp))]

    @cached_property
    def datasets(self) -> dict[str, str]:
        """The digest of each dataset, by its name."""
        inputs = self._run.inputs.dataset_inputs if self._run.inputs else []
        return {each.dataset.name: each.dataset.digest for each in inputs}

    @cached_property
    def models(self) -> dict[str, str]:
        """Where each model is that it logged, by its name: ``mlflow.sklearn.load_model(run.models["clf"])``."""
        outputs = self._run.outputs.model_outputs if self._run.outputs else []
        logged = [self._client.get_logged_model(each.model_id) for each in outputs]
        return {model.name: model.artifact_location for model in logged}

    @cached_property
    def artifacts(self) -> list[str]:
        """The paths of all its files: figures, tables, notes."""
        return sorted(self._files(""))

    def artifact(self, path: str) -> bytes:
        """Return the content of one of its files.

        Args:
            path: One of `artifacts`.

        Raises:
            FileNotFoundError: If there is none; the message names those that there are.
        """
        if path not in self.artifacts:
            msg = f"The run {self.name!r} has no file {path!r}; it has {', '.join(self.artifacts) or 'none'}."
            raise FileNotFoundError(msg)
        return Path(self._client.download_artifacts(self.run_id, path)).read_bytes()

    def _files(self, folder: str) -> Iterator[str]:
        for each in self._client.list_artifacts(self.run_id, folder):
            if each.is_dir:
                yield from self._files(each.path)
            else:
                yield each.path


class TrackedRuns:
    """All runs of a store, the oldest first; each look at them waits until what was logged is there.

    Args:
        client: MLflow's client of the store.

    Example:
        >>> flowml_runs["evaluate"].metrics["auc"]
        0.93
    """

    def __init__(self, client: MlflowClient) -> None:
        self.client = client

    def __iter__(self) -> Iterator[TrackedRun]:
        from flowml.capture.inside import flush

        flush()
        experiments = [each.experiment_id for each in self.client.search_experiments()]
        token: str | None = None
        found: list[Run] = []
        while token is None or token:
            page = self.client.search_runs(experiments, order_by=["attributes.start_time ASC"], page_token=token)
            found, token = [*found, *page], page.token or ""
        runs = [TrackedRun.of(run, self.client) for run in found]
        return iter([run for run in runs if run.kind != "ledger"])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> TrackedRun:
        """Return the only run of a flow or task.

        Raises:
            KeyError: If there is none, or more than one; the message says what there is.
        """
        found = self.all(name)
        if len(found) == 1:
            return found[0]
        names = sorted({run.name for run in self})
        if found:
            msg = f"{len(found)} runs are called {name!r}; `all({name!r})` returns them."
        else:
            hint = errors.did_you_mean(name, names)
            msg = f"No run is called {name!r}; there are: {', '.join(names) or 'none'}. {hint}".rstrip()
        raise KeyError(msg)

    def all(self, name: str | None = None) -> list[TrackedRun]:
        """Return the runs of a flow or task, such as those of a mapped one; without a name all."""
        return [run for run in self if name in {None, run.name}]

    def below(self, run: TrackedRun) -> list[TrackedRun]:
        """Return the runs that hang directly under one."""
        return [each for each in self if each.parent_id == run.run_id]
