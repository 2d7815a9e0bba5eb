"""One fitted scikit-learn model logged with signature and example: `mlflow.sklearn.log_model` by hand, and flowml.

Each logs a copy of the same model from a task's end, several in a flow; what that costs without any tracking is taken
off. flowml's flow has a run too, with its graph and note: that is divided among its models.
"""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from argparse import Namespace
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from report import Goal, options, report
from stores import ground

_WARM_UP = 1
_HAND = "mlflow.sklearn.log_model by hand"


def main(given: Namespace) -> None:
    """Measure, count and print."""
    warnings.filterwarnings("ignore")
    with ground(given) as place:
        import mlflow
        import prefect
        from prefect.cache_policies import NO_CACHE
        from sklearn import datasets, linear_model, pipeline, preprocessing

        import flowml
        from contest import Body, Contestant, compete, described, insist
        from contestants import BARE, FLOWML, all_sent, leave_mlflow_plain

        leave_mlflow_plain()
        table, truth = datasets.load_breast_cancer(return_X_y=True, as_frame=True)
        fitted = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression())
        fitted.fit(table, truth)
        hands, own = place.store(_HAND), place.store(FLOWML, flowmls=True)

        def give(inputs: Any) -> Any:  # noqa: ARG001 - where the example comes from
            return copy.deepcopy(fitted)

        def by_hand(inputs: Any) -> Any:
            with mlflow.start_run(experiment_id=hands.experiment_id):
                mlflow.sklearn.log_model(model := give(inputs), name="model", input_example=inputs.head(5))
            return model

        def made(flow: Any, task: Any, fn: Callable[..., Any]) -> Callable[[int], Body]:
            step = task(fn, name="give", cache_policy=NO_CACHE, persist_result=False)

            @flow(name="model")
            def of_models(models: int) -> Body:
                began = time.perf_counter()
                for _ in range(models):
                    step(table)
                taken = time.perf_counter() - began
                with all_sent() if flow is flowml.flow else nullcontext():
                    pass
                return Body(began, taken, time.perf_counter())

            return of_models

        everybody = [
            Contestant(BARE, made(prefect.flow, prefect.task, give)),
            Contestant(_HAND, made(prefect.flow, prefect.task, by_hand), hands),
            Contestant(FLOWML, made(flowml.flow, flowml.task, give), own),
        ]
        times = compete(everybody, given.models, given.rounds, warm_up=_WARM_UP)
        counted = {each.name: complete_models(each.store) for each in everybody if each.store}
        insist(counted, dict.fromkeys(counted, given.rounds * given.models + _WARM_UP))
    cost = {
        name: [whole - bare for whole, bare in zip(took.whole, times[BARE].whole, strict=True)]
        for name, took in times.items()
    }
    each = 1000 / given.models
    rows = [{"contestant": name, "ms for a model": each * statistics.median(cost[name])} for name in (_HAND, FLOWML)]
    paired = statistics.median(mine / theirs for mine, theirs in zip(cost[FLOWML], cost[_HAND], strict=True))
    goal = Goal("one model logged, flowml / mlflow.sklearn.log_model", paired, most=0.03)
    report(given, f"One of {given.models} models, {given.rounds} rounds: {described(given)}", rows, [goal], counted)


def complete_models(store: Any) -> int:
    """Count the models that are there with a signature, an example, their requirements and the fitted object."""
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    client = MlflowClient(store.uri)
    experiment = client.get_experiment_by_name(store.name)
    found = 0
    for model in client.search_logged_models([experiment.experiment_id], max_results=1000):
        about = Model.load(download_artifacts(f"{model.artifact_location}/MLmodel"))
        files = {file.path for file in client.list_logged_model_artifacts(model.model_id)}
        is_whole = about.signature is not None and about.saved_input_example_info is not None
        found += is_whole and "requirements.txt" in files and str(model.status) == "READY"
    return found


if __name__ == "__main__":
    parser = options(__doc__, rounds=3)
    parser.add_argument("--models", type=int, default=5, help="in one flow (default: %(default)s)")
    main(parser.parse_args())
