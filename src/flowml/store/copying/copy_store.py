"""The whole story of a copy, in order: each thing is there before something names it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from flowml.store.copying import experiments as places
from flowml.store.copying import logged_models, lost, marks, prompts, registered, run_data, runs, traces
from flowml.store.copying.ends import Copied, Ends
from flowml.store.copying.links import Links
from flowml.store.copying.logged_models import ModelMetrics

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment


_SAID_EVERY = 100  # runs


def copy(
    ends: Ends,
    experiments: Iterable[Experiment],
    known: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda _: None,
    *,
    looks: bool = False,
) -> Copied:
    """Copy experiments with all in them, the versions of registered models that were made from that, and prompts.

    It can be interrupted anywhere, and done again: what was copied is found, and what is missing is added. What goes on
    meanwhile is copied as far as it is, and completed by the next copy.

    Args:
        ends: The two stores.
        experiments: The experiments, of the store that is read.
        known: The new ids of runs and logged models that were copied, and are not in that store any more.
        say: Tells how far it is.
        looks: Whether the copies of runs that are noted are looked up; one that is not there is made again.

    Returns:
        What was copied.

    Raises:
        TrackingError: If an experiment was deleted in the other store; nothing was copied then.
        Exception: What MLflow raises; what was copied until then stays, and is not copied again.
    """
    done, links = Copied(), Links(ids=dict(known or {}))
    filled = [one for one in experiments if has_content(ends.source, one.experiment_id)]
    for experiment in filled:
        links.experiments[experiment.experiment_id] = _find_or_make(ends, experiment, looks=looks)
    pending = [one for here in links.experiments for one in runs.make(ends, here, links, done)]
    by_model: ModelMetrics = {}
    models = [one for here in links.experiments for one in logged_models.make(ends, here, links, by_model, done)]
    registered.copy(ends, links, done)
    prompts.copy(ends, links, done)
    for model in models:
        logged_models.complete(ends, model, links, done)
    for place, run in enumerate(pending):
        run_data.fill(ends, run, links, by_model, done)
        if place and place % _SAID_EVERY == 0:
            say(f"{place} of {len(pending)} runs are copied.")
    for here in links.experiments:
        traces.copy(ends, here, links, done)
    return done


def _find_or_make(ends: Ends, experiment: Experiment, *, looks: bool) -> str:
    """Return the id of the experiment that is copied to; it is noted when nothing is noted of one that is lost."""
    same = places.known(ends, experiment)
    there = same or places.named(ends, experiment)
    places.check(ends, experiment, there)
    places.describe(ends, experiment, there)
    if looks or same is None:
        was_there = same is None and marks.noted(experiment.tags, ends.to) is not None
        lost.forget(ends, experiment.experiment_id, str(there.experiment_id), with_all=was_there)
    places.note_copied(ends, experiment, there)
    return str(there.experiment_id)


def has_content(source: MlflowClient, experiment_id: str) -> bool:
    """Tell whether there is anything in an experiment."""
    return any(
        next(iter(there(source, experiment_id)), None) is not None
        for there in (runs.all_of, logged_models.all_of, traces.all_of)
    )
