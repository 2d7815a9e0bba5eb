"""Which copies are there in truth: before the last one of something is removed, the other store is asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowml.store.copying import logged_models, marks, registered, runs, traces
from flowml.store.copying.ends import Ends

if TYPE_CHECKING:
    from mlflow.entities import Experiment, LoggedModel, Run, TraceInfo


@dataclass(slots=True)
class Copies:
    """What may be removed of an experiment.

    Attributes:
        runs: The runs that are copied with all above and below them, and with what they made.
        models: The logged models of these.
        traces: Traces that are copied, also those of other runs.
        missing: What is copied as it is now, but has no copy any more.
    """

    runs: list[Run] = field(default_factory=list)
    models: list[LoggedModel] = field(default_factory=list)
    traces: list[TraceInfo] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def look_up(ends: Ends, experiment: Experiment, versions: Versions) -> Copies:
    """Ask the other store for the copies of an experiment.

    Args:
        ends: The two stores.
        experiment: The experiment, in the store that is read.
        versions: The versions of registered models.

    Raises:
        Exception: What MLflow raises.
    """
    note, found = marks.noted(experiment.tags, ends.to), Copies()
    if note is None:  # nothing of it was copied
        return found
    here = list(runs.all_of(ends.source, experiment.experiment_id))
    models = list(logged_models.all_of(ends.source, experiment.experiment_id))
    of_runs = _safe_runs(ends, here, note.id, found)
    kept = versions.kept | {one.model_id for one in models} - _safe_models(ends, models, note.id, found)
    unsafe = versions.kept | {one.source_run_id for one in models if one.model_id in kept}
    for family in _families(here):
        if all(run.info.run_id in of_runs and run.info.run_id not in unsafe for run in family):
            found.runs += family
    gone = {run.info.run_id for run in found.runs}
    found.models = [one for one in models if one.source_run_id in gone]
    found.traces = _safe_traces(ends, experiment.experiment_id, note.id, found)
    return found


@dataclass(slots=True)
class Versions:
    """The versions of registered models.

    Attributes:
        kept: The ids of runs and logged models of which a version has no copy; its files are theirs.
        missing: The versions that are copied as they are now, but have no copy any more.
    """

    kept: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)


def look_up_versions(ends: Ends) -> Versions:
    """Ask the other store for the copies of versions.

    Raises:
        Exception: What MLflow raises.
    """
    found = Versions()
    for name in [model.name for model in registered.all_of(ends.source)]:
        versions = registered.versions_of(ends.source, name)
        copied = [one for one in versions if registered.is_copied(one, ends.to)]
        there = {one.version for one in registered.copied_there(ends, copied)}
        found.missing += [f"{name} version {one.version}" for one in copied if one.version not in there]
        found.kept.update(*(registered.made_from(one) for one in versions if one.version not in there))
    return found


def _safe_runs(ends: Ends, here: list[Run], there: str, found: Copies) -> set[str]:
    copied = [run for run in here if runs.is_copied(ends.source, run, ends.to)]
    copies = runs.copies(ends, there, copied)
    safe = {old for old, copy in copies.items() if copy.info.lifecycle_stage == "active"}
    found.missing += [f"run {run.info.run_id}" for run in copied if run.info.run_id not in safe]
    return safe


def _safe_models(ends: Ends, models: list[LoggedModel], there: str, found: Copies) -> set[str]:
    copied = [one.model_id for one in models if logged_models.is_copied(one, ends.to)]
    safe = logged_models.ids_there(ends, there) if copied else set()
    found.missing += [f"logged model {each}" for each in copied if each not in safe]
    return safe.intersection(copied)


def _safe_traces(ends: Ends, experiment_id: str, there: str, found: Copies) -> list[TraceInfo]:
    copied = [info for info in traces.all_of(ends.source, experiment_id) if traces.is_copied(info, ends.to)]
    safe = traces.ids_there(ends, there, copied)
    found.missing += [f"trace {info.trace_id}" for info in copied if info.trace_id not in safe]
    return [info for info in copied if info.trace_id in safe]


def _families(here: list[Run]) -> Iterator[list[Run]]:
    """Go through the runs that belong together: of a flow, or below one another."""
    families = defaultdict[str, list["Run"]](list)
    parents = {run.info.run_id: run.data.tags.get("mlflow.parentRunId", "") for run in here}
    for run in here:
        outermost = run.info.run_id
        for _ in parents:
            if parents.get(outermost) not in parents:
                break
            outermost = parents[outermost]
        families[run.data.tags.get("flowml.root_run_id", outermost)].append(run)
    yield from families.values()
