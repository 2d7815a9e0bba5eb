"""Copies that are noted and are not there: of a store that was emptied, or is an older backup of itself.

A run says which it is. What somebody deletes MLflow keeps as deleted; a run that is not there at all was lost with all
that was made from it. What is noted of that is forgotten, so that it is copied again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from flowml.store.copying import logged_models, marks, prompts, registered, runs, traces
from flowml.store.copying.ends import Ends

if TYPE_CHECKING:
    from mlflow.entities import Run


def forget(ends: Ends, experiment_id: str, there: str, *, with_all: bool) -> None:
    """Forget the copies of an experiment's runs that are not there, or not as far as is noted, and of what they made.

    Args:
        ends: The two stores.
        experiment_id: The experiment, in the store that is read.
        there: The experiment that its copies are in.
        with_all: Also of what no run made: the experiment that earlier copies went to is not there.

    Raises:
        Exception: What MLflow raises.
    """
    noted = [run for run in runs.all_of(ends.source, experiment_id) if marks.noted(run.data.tags, ends.to)]
    copies = runs.copies(ends, there, noted)
    lost = {run.info.run_id for run in noted if run.info.run_id not in copies}
    if lost or with_all:
        made_by = lost | ({""} if with_all else set())
        _forget_models(ends, experiment_id, made_by)
        _forget_traces(ends, experiment_id, there, made_by)
    if with_all:
        prompts.forget(ends)
    for run in noted:  # last: whoever is interrupted finds the others by these
        if run.info.run_id in lost or not _is_whole(ends, run, copies[run.info.run_id]):
            ends.source.delete_tag(run.info.run_id, marks.SYNCED)


def _is_whole(ends: Ends, run: Run, copy: Run) -> bool:
    """Tell whether a copy is as it is noted; one that somebody deleted stays as it is."""
    note = marks.noted(run.data.tags, ends.to)
    return copy.info.lifecycle_stage == "deleted" or (note and note.digest) == copy.data.tags.get(marks.COPIED)


def _forget_models(ends: Ends, experiment_id: str, lost: Collection[str]) -> None:
    """Forget the copies of models and versions that runs made; "" stands for those of no run."""
    models = [one for one in logged_models.all_of(ends.source, experiment_id) if (one.source_run_id or "") in lost]
    for model in models:
        if marks.noted(model.tags, ends.to):
            ends.source.delete_logged_model_tag(model.model_id, marks.SYNCED)
    sources = {*lost, *(model.model_id for model in models)}
    for name in [model.name for model in registered.all_of(ends.source)]:
        for version in registered.versions_of(ends.source, name):
            if registered.made_from(version) & sources and marks.noted(version.tags, ends.to):
                ends.source.delete_model_version_tag(name, str(version.version), marks.SYNCED)


def _forget_traces(ends: Ends, experiment_id: str, there: str, lost: Collection[str]) -> None:
    """Forget those that are not there; a second copy would take away what people have said of the first."""
    infos = [info for info in traces.all_of(ends.source, experiment_id) if marks.noted(info.tags, ends.to)]
    made = [info for info in infos if traces.run_of(info) in lost]
    kept = traces.ids_there(ends, there, made)
    for info in made:
        if info.trace_id not in kept:
            ends.source.delete_trace_tag(info.trace_id, marks.SYNCED)
