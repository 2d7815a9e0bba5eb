"""Reading back all that is in an MLflow store, in a form that compares value by value."""

from __future__ import annotations

import re
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from tests.everywhere.probe import Depth, Job, fitted


@dataclass(frozen=True)
class Caller:
    """A flow or task that is expected to have a run, with those that it called below it."""

    name: str
    called: Sequence[Caller | Job]


Tree: TypeAlias = "Caller | Job"
EACH, MANY = 20, 100  # calls of one task that are shown each; those of which there are percentiles


@dataclass
class Store:
    """One MLflow store, and what was in it before.

    Attributes:
        uri: Its tracking URI.
        client: A client of it.
        experiment_id: The experiment that the user has chosen.
        known: The runs that were there before.
    """

    uri: str
    client: MlflowClient
    experiment_id: str
    known: frozenset[str] = frozenset()

    def runs(self) -> list[Run]:
        """Return the runs of all experiments that were not there before."""
        experiments = [experiment.experiment_id for experiment in self.client.search_experiments()]
        found = self.client.search_runs(experiments, max_results=5000)
        return [run for run in found if run.info.run_id not in self.known]


def expect(store: Store, tree: Tree, *, above: Run | None = None, active: str | None = None) -> None:
    """Check that a store holds just what was expected: the runs, their places, and all that each holds.

    Args:
        store: The store.
        tree: What was called by what.
        above: The user's own run, if the outermost flow was called in one.
        active: The run that plain calls go to in every task. Default: the task's own.
    """
    runs = [run for run in store.runs() if above is None or run.info.run_id != above.info.run_id]
    assert drawn(runs, above) == "\n".join(_lines(tree))
    assert Counter(run.info.status for run in runs) == {"FINISHED": len(runs)}
    assert {run.info.experiment_id for run in runs} == {store.experiment_id}
    (root,) = [run for run in runs if _parent(run) == (above.info.run_id if above else None)]
    assert {run.data.tags.get("flowml.root_run_id") for run in runs} == {root.info.run_id}
    attempts = [run.data.tags["prefect.task_run_id"] for run in runs if run.data.tags.get("flowml.kind") == "task"]
    assert len(attempts) == len(set(attempts))
    pages = {
        _label(run): _page(store, run, active or run.info.run_id) for run in runs if _label(run).startswith("probe")
    }
    jobs = list(_jobs(tree))
    assert pages == {f"probe {job.number}": _expected_page(job) for job in jobs}
    assert _models(store, runs) == {f"probe {job.number}": job.number for job in jobs if job.depth >= Depth.MODEL}
    traced = [job.number for job in sorted(jobs) if job.depth >= Depth.FULL]
    assert _traces(store, runs, len(traced)) == [
        (f"probe {number}", {"number": number}, number**2) for number in traced
    ]
    _expect_callers(store, runs, tree)


def drawn(runs: Iterable[Run], above: Run | None = None) -> str:
    """Draw runs as an indented tree, those without a known parent at the left."""
    runs = list(runs)
    known = {run.info.run_id for run in runs}
    below = defaultdict(list)
    for run in runs:
        parent = _parent(run)
        lost = parent is not None and parent not in known and not (above and parent == above.info.run_id)
        below[parent if parent in known else None].append((f"{_label(run)}{' (LOST)' * lost}", run.info.run_id))

    def draw(parent: str | None, depth: int) -> list[str]:
        blocks = ["\n".join(["  " * depth + label, *draw(run_id, depth + 1)]) for label, run_id in below[parent]]
        return sorted(blocks)

    return "\n".join(draw(None, 0))


def _lines(tree: Tree, depth: int = 0) -> list[str]:
    indent = "  " * depth
    if isinstance(tree, Job):
        inner = [f"{indent}  inner {tree.number}"] if tree.depth >= Depth.PLAIN else []
        return [f"{indent}probe {tree.number}", *inner]
    return [indent + tree.name, *sorted("\n".join(_lines(below, depth + 1)) for below in tree.called)]


def _label(run: Run) -> str:
    tags = run.data.tags
    if "flowml.kind" not in tags:
        return str(run.info.run_name)
    name = tags.get("prefect.task_name") or tags.get("prefect.flow_name")
    return f"probe {run.data.params.get('number')}" if name == "probe" else str(name)


def _jobs(tree: Tree) -> Iterable[Job]:
    if isinstance(tree, Job):
        yield tree
    else:
        for below in tree.called:
            yield from _jobs(below)


def _parent(run: Run) -> str | None:
    parent: str | None = run.data.tags.get("mlflow.parentRunId")
    return parent


def _metrics(run: Run) -> dict[str, float]:
    """Return a run's metrics, but for how late it was: only a deployed flow's has that."""
    return {key: value for key, value in run.data.metrics.items() if key != "flowml.scheduling_delay"}


def _page(store: Store, run: Run, active: str) -> dict[str, Any]:
    """Return all that is on the page of a probe's run."""
    run_id = run.info.run_id
    assert run.data.params.get("active_run") == active
    page: dict[str, Any] = {
        "params": {key: value for key, value in run.data.params.items() if key != "active_run"},
        "metrics": _metrics(run),
        "losses": [point.value for point in store.client.get_metric_history(run_id, "loss")],
        "artifacts": sorted(item.path for item in store.client.list_artifacts(run_id)),
        "models": len(run.outputs.model_outputs),
        "datasets": run.inputs.dataset_inputs,
    }
    if "number.txt" in page["artifacts"]:
        page["number.txt"] = Path(store.client.download_artifacts(run_id, "number.txt")).read_text()
    if "figure.png" in page["artifacts"]:
        with Image.open(store.client.download_artifacts(run_id, "figure.png")) as figure:
            page["figure.png"] = figure.info["Title"]
    return page


def _expected_page(job: Job) -> dict[str, Any]:
    number, depth = job
    page: dict[str, Any] = {
        "params": {"number": str(number), "depth": str(int(depth))},
        "metrics": _expected_metrics(job),
        "losses": [number, number + 0.1, number + 0.2] if depth >= Depth.PLAIN else [],
        "artifacts": [],
        "models": int(depth >= Depth.MODEL),
        "datasets": [],
    }
    if depth >= Depth.PLAIN:
        page["params"] |= {"by_hand": str(number)}
    if depth >= Depth.FULL:
        page |= {"artifacts": ["figure.png", "number.txt"], "number.txt": str(number), "figure.png": str(number)}
    if depth >= Depth.AUTOLOG:
        page["params"] |= {key: str(value) for key, value in fitted(number).get_params().items()}
        page["artifacts"] = ["estimator.html", *page["artifacts"]]
    return page


def _expected_metrics(job: Job) -> dict[str, float]:
    number, depth = job
    metrics: dict[str, float] = {"answer": number * 3}
    if depth >= Depth.PLAIN:
        metrics["loss"] = number + 0.2
    if depth >= Depth.AUTOLOG:
        metrics |= _autologged(number)
    return metrics


def _autologged(number: int) -> dict[str, float]:
    """Return the metrics that scikit-learn's autologging takes of a regression."""
    from sklearn import metrics

    truth = [0.0, number, 2.0 * number + 1]
    guess = fitted(number).predict([[0.0], [1.0], [2.0]])
    return {
        "training_mean_squared_error": metrics.mean_squared_error(truth, guess),
        "training_mean_absolute_error": metrics.mean_absolute_error(truth, guess),
        "training_r2_score": metrics.r2_score(truth, guess),
        "training_root_mean_squared_error": metrics.root_mean_squared_error(truth, guess),
        "training_score": metrics.r2_score(truth, guess),
    }


def _models(store: Store, runs: list[Run]) -> dict[str, int]:
    """Return the number in each logged model by the run that it is of; all of the experiment, so none is stray."""
    labels = {run.info.run_id: _label(run) for run in runs}
    found = store.client.search_logged_models([store.experiment_id])
    assert all(model.name == f"model-{model.params['number']}" for model in found)
    assert all(model.params["by_hand"] == model.params["number"] for model in found)
    return {labels.get(model.source_run_id, "no run"): int(model.params["number"]) for model in found}


def _traces(store: Store, runs: list[Run], expected: int) -> list[tuple[str, Any, Any]]:
    """Return the label of the run, the inputs and the outputs of each trace in the experiment.

    MLflow sends traces in the background, here and in other processes: they are waited for.
    """
    mlflow.flush_trace_async_logging()
    labels = {run.info.run_id: _label(run) for run in runs}
    end = time.monotonic() + 15
    while True:
        found = store.client.search_traces(locations=[store.experiment_id], max_results=500)
        done = [trace for trace in found if trace.info.trace_metadata.get("mlflow.trace.infoFinalized") == "true"]
        if len(done) == len(found) >= expected or time.monotonic() > end:
            break
        time.sleep(0.2)
    rows = []
    for trace in found:
        source = trace.info.trace_metadata.get("mlflow.sourceRun")
        rows += [(labels.get(source, f"unknown run {source}"), span.inputs, span.outputs) for span in trace.data.spans]
    return sorted(rows, key=lambda row: row[1]["number"])


def _expect_callers(store: Store, runs: list[Run], tree: Tree) -> None:
    """Check that the runs of callers hold nothing but, for flows, what is rolled up from those right below them."""
    callers = [run for run in runs if run.data.tags.get("flowml.kind") and not _label(run).startswith("probe")]
    for run in callers:
        assert run.data.params == {}, _label(run)
        drawn = ["flow"] if run.data.tags["flowml.kind"] == "flow" and _has_children(run, runs) else []
        kept = [item.path for item in store.client.list_artifacts(run.info.run_id)]
        assert [path for path in kept if path != "reproduce"] == drawn
        is_flow = run.data.tags["flowml.kind"] == "flow"
        made = {each.model_id for other in runs for each in other.outputs.model_outputs if _is_below(other, run)}
        assert {each.model_id for each in run.outputs.model_outputs} == (made if is_flow else set())
    found = sorted(sorted(_of_callers(run).items()) for run in callers)
    expected = sorted(sorted(_rolled_up(caller).items()) for caller in _callers(tree))
    assert [[key for key, _ in metrics] for metrics in found] == [[key for key, _ in metrics] for metrics in expected]
    assert found == [[(key, pytest.approx(value)) for key, value in metrics] for metrics in expected]


def _of_callers(run: Run) -> dict[str, float]:
    """Return a caller's metrics; what tells probes apart may be the argument, or what they log of it by hand."""
    return {re.sub(r"\bprobe\.(by_hand|inside) ", "probe.number ", key): value for key, value in _metrics(run).items()}


def _is_below(run: Run, above: Run) -> bool:
    return _parent(run) == above.info.run_id


def _has_children(run: Run, runs: list[Run]) -> bool:
    return any(_parent(other) == run.info.run_id for other in runs)


def _callers(tree: Tree) -> Iterable[Caller]:
    if isinstance(tree, Caller):
        yield tree
        for below in tree.called:
            yield from _callers(below)


def _rolled_up(tree: Tree) -> dict[str, float]:
    """Return the metrics that are expected on a run."""
    if isinstance(tree, Job):
        return _expected_metrics(tree)
    if not tree.name.endswith("flow"):
        return {}
    values: defaultdict[str, list[float]] = defaultdict(list)
    numbers: defaultdict[str, list[int]] = defaultdict(list)  # of probes, by which they are told apart
    jobs = [below for below in tree.called if isinstance(below, Job)]
    for below in tree.called:
        name = "probe" if isinstance(below, Job) else below.name
        for key, value in _rolled_up(below).items():
            values[f"{name}.{key}"].append(value)
            if isinstance(below, Job) and len(jobs) <= EACH:
                numbers[f"{name}.{key}"].append(below.number)
    rolled = {}
    for key, found in values.items():
        told_apart = sorted(numbers[key])
        if len(found) == 1:
            rolled[key] = found[0]
        elif told_apart and told_apart not in (list(range(len(found))), list(range(1, len(found) + 1))):
            rest = key.removeprefix("probe.")
            rolled |= {f"probe.number {one}.{rest}": value for one, value in zip(numbers[key], found, strict=True)}
        else:
            rolled |= {f"{key}.min": min(found), f"{key}.mean": statistics.fmean(found), f"{key}.max": max(found)}
            for percent in (50, 95) if len(found) >= MANY else ():
                rolled[f"{key}.p{percent}"] = float(np.percentile(found, percent, method="inverted_cdf"))
    return rolled
