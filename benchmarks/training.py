"""The work of flows/train.py: with Prefect and MLflow's calls written by hand, and with flowml.

By hand (train_by_hand.py) a run is opened in each task, with its parameters, datasets, metrics, figures and models.
The time is that from the flow's call until everything is durable in MLflow.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from argparse import Namespace
from pathlib import Path

from report import Goal, options, report
from stores import Store, ground

_HAND, _FLOWML = "Prefect + MLflow by hand", "flowml"
_RUNS, _MODELS, _VERSIONS = 16, 6, 1  # of each turn: the flow's and its tasks' runs; the fitted models; the best one
_FLOWS = Path(__file__).parents[1] / "flows"


def main(given: Namespace) -> None:
    """Measure, count and print."""
    warnings.filterwarnings("ignore")
    sys.path.insert(0, str(_FLOWS))
    with ground(given) as place:
        import train
        import train_by_hand
        from contest import described, insist, ratio, without_heartbeat
        from contestants import leave_mlflow_plain

        leave_mlflow_plain()
        hands, own = place.store(_HAND), place.store(_FLOWML, flowmls=True)
        train_by_hand.EXPERIMENT["experiment_id"] = hands.experiment_id
        everybody = {_HAND: (hands, train_by_hand.training), _FLOWML: (own, train.training)}
        taken: dict[str, list[float]] = {name: [] for name in everybody}
        with without_heartbeat():
            for turn in range(given.rounds + 1):
                for name, (store, run) in everybody.items():
                    store.use()
                    began = time.perf_counter()
                    run()
                    store.make_durable()
                    if turn:  # the first warms up
                        taken[name].append(time.perf_counter() - began)
        counted = {name: written(store) for name, (store, _) in everybody.items()}
        turns = given.rounds + 1
        complete = {"runs": _RUNS * turns, "models": _MODELS * turns, "versions": _VERSIONS * turns}
        insist(counted, dict.fromkeys(counted, complete))
    rows = [{"contestant": name, "s for the flow": statistics.median(times)} for name, times in taken.items()]
    goal = Goal("flows/train.py, flowml / by hand", ratio(taken[_FLOWML], taken[_HAND]), most=0.3)
    report(given, f"flows/train.py, {given.rounds} rounds: {described(given)}", rows, [goal], counted)


def written(store: Store) -> dict[str, int]:
    """Count the finished runs, the models that are ready, and the versions of the best."""
    from mlflow import MlflowClient

    client = MlflowClient(store.uri)
    experiment = client.get_experiment_by_name(store.name)
    models = client.search_logged_models([experiment.experiment_id], max_results=1000)
    mine = {model.model_id for model in models}
    versions = client.search_model_versions("name = 'classifier'")
    return {
        "runs": len(store.runs()),
        "models": sum(str(model.status) == "READY" for model in models),
        "versions": sum(any(model_id in str(version.source) for model_id in mine) for version in versions),
    }


if __name__ == "__main__":
    main(options(__doc__, rounds=3).parse_args())
