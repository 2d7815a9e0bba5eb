"""Models that tasks have logged, as whoever loads them by MLflow gets them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import mlflow
import pytest
from mlflow.models import validate_serving_input
from mlflow.models.utils import load_serving_example

from flowml import flow, task


class Case(NamedTuple):
    """A task that fits a model.

    Attributes:
        given: What the task is given.
        fit: Its body.
        seen: What the body fits the model on, made of what it is given.
    """

    given: Any
    fit: Callable[[Any], Any]
    seen: Callable[[Any], Any] = lambda given: given


class Logged(NamedTuple):
    """A model that a task returned, what it was fitted on, and how MLflow finds it."""

    model: Any
    seen: Any
    uri: str
    run_id: str

    def load(self) -> Any:
        """Load it as a server would."""
        return mlflow.pyfunc.load_model(self.uri)

    def serve_example(self) -> Any:
        """Send its input example to it as JSON; None if it has none."""
        if mlflow.models.get_model_info(self.uri).saved_input_example_info is None:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # MLflow's newer way starts a server in a new environment
            return validate_serving_input(self.uri, load_serving_example(self.uri))


def note_in(tags: Mapping[str, str]) -> str:
    """Return what the run of the one model says that its signature lacks."""
    (note,) = [value for key, value in tags.items() if key.startswith("flowml.signature.")]
    return note


@pytest.fixture
def logged(client) -> Callable[[Mapping[str, Case]], dict[str, Logged]]:
    """Run a task for each case, in one flow."""

    def log(cases: Mapping[str, Case]) -> dict[str, Logged]:
        @task(cache_policy=None)
        def fit(given, case):
            return case.fit(case.seen(given))

        @flow(name="signatures")
        def main():
            return {name: fit.with_options(name=name)(case.given, case) for name, case in cases.items()}

        models = main()
        experiment = client.get_experiment_by_name("signatures").experiment_id
        logged_models = client.search_logged_models([experiment], max_results=1000)
        tags = {each.model_id: client.get_run(each.source_run_id).data.tags for each in logged_models}
        found = {tags[each.model_id].get("prefect.task_name"): each for each in logged_models}
        return {
            name: Logged(model, cases[name].seen(cases[name].given), found[name].model_uri, found[name].source_run_id)
            for name, model in models.items()
        }

    return log
