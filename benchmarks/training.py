"""The work of flows/train.py: untracked, with Prefect and MLflow's calls written by hand, and with flowml.

By hand (train_by_hand.py) a run is opened in each task, with its parameters, datasets, metrics, figures and models.
The time is that from the flow's call until everything is durable in MLflow. Processor time is that of this process
and of those it starts: MLflow finds a model's requirements in a process of its own.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from report import Goal, options, report
from stores import Store, ground

_BARE, _HAND, _FLOWML = "untracked", "Prefect + MLflow by hand", "flowml"
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
        everybody = {
            _BARE: (own, untracked(train.training)),
            _HAND: (hands, train_by_hand.training),
            _FLOWML: (own, train.training),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in everybody}
        with without_heartbeat():
            for turn in range(given.rounds + 1):
                for name, (store, run) in everybody.items():
                    store.use()
                    began, processor = time.perf_counter(), processor_time()
                    run()
                    store.make_durable()
                    if turn:  # the first warms up
                        taken[name].append((time.perf_counter() - began, processor_time() - processor))
        counted = {name: written(everybody[name][0]) for name in (_HAND, _FLOWML)}
        turns = given.rounds + 1
        complete = {"runs": _RUNS * turns, "models": _MODELS * turns, "versions": _VERSIONS * turns}
        insist(counted, dict.fromkeys(counted, complete))
    wall, processor = ({name: [turn[kind] for turn in of] for name, of in taken.items()} for kind in (0, 1))
    rows = [
        {
            "contestant": name,
            "s for the flow": statistics.median(wall[name]),
            "s of processor time": statistics.median(processor[name]),
        }
        for name in everybody
    ]
    goals = [
        Goal("flows/train.py, flowml / by hand", ratio(wall[_FLOWML], wall[_HAND]), most=0.3),
        Goal("processor time that tracking adds, flowml / by hand", added(processor), most=0.5),
    ]
    report(given, f"flows/train.py, {given.rounds} rounds: {described(given)}", rows, goals, counted)


def processor_time() -> float:
    """Return the seconds that this process and those that it started and ended have worked."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def untracked(training: Callable[[], object]) -> Callable[[], object]:
    """Return the flow as it is without flowml's tracking."""

    def run() -> object:
        import flowml

        with flowml.disabled():
            return training()

    return run


def added(processor: Mapping[str, Sequence[float]]) -> float:
    """Return what flowml adds to the untracked flow, of what tracking by hand adds."""
    middle = {name: statistics.median(times) for name, times in processor.items()}
    return (middle[_FLOWML] - middle[_BARE]) / (middle[_HAND] - middle[_BARE])


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
