"""The first models of a process: one, and six in tasks that end together; by hand, and by flowml.

Each turn is a process of its own, in which a flow without models has run already. What is told is the time until all is
in MLflow, and the processor's, that of child processes too: MLflow starts one to find a model's requirements. What the
tasks cost without tracking is taken off.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from contest import ratio
from report import Goal, options, report
from stores import ground

AT_ONCE = 6
_BARE, _HAND, _GIVEN, _FLOWML = "Prefect", "mlflow.sklearn.log_model", "the same, requirements given", "flowml"
_TURNS = [(name, models) for name in (_BARE, _HAND, _GIVEN, _FLOWML) for models in (1, AT_ONCE)]


def main(given: Namespace) -> None:
    """Measure, count and print."""
    if given.turn:
        print(json.dumps(_turn(given, *given.turn)))
        return
    taken: dict[tuple[str, int], list[dict[str, float]]] = {turn: [] for turn in _TURNS}
    for _ in range(given.rounds):
        for name, models in _TURNS:
            taken[name, models].append(_in_a_process(given, name, models))
    cost = {turn: _cost(told, taken[_BARE, turn[1]]) for turn, told in taken.items() if turn[0] != _BARE}
    rows: list[dict[str, str | float]] = [
        {"contestant": name, "models": models, **{what: statistics.median(times) for what, times in spent.items()}}
        for (name, models), spent in cost.items()
    ]
    busy = {turn: spent["processor s"] for turn, spent in cost.items()}
    goals = [
        Goal("six first models / one, flowml, processor", ratio(busy[_FLOWML, AT_ONCE], busy[_FLOWML, 1]), most=1.2),
        Goal("the first, flowml / MLflow's log_model, processor", ratio(busy[_FLOWML, 1], busy[_HAND, 1]), most=1.1),
        Goal("the same, requirements given", ratio(busy[_FLOWML, 1], busy[_GIVEN, 1]), most=1.25),
    ]
    counted = {
        f"{name}, {models}": sum(int(each["complete"]) for each in told) for (name, models), told in taken.items()
    }
    report(given, f"First models, {given.rounds} rounds", rows, goals, counted)


def _in_a_process(given: Namespace, name: str, models: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--store", given.store, "--turn", name, str(models)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if name != _BARE and told["complete"] != models:
        msg = f"{name} left {told['complete']} complete models of {models}"
        raise SystemExit(msg)
    return told


def _cost(told: list[dict[str, float]], bare: list[dict[str, float]]) -> dict[str, list[float]]:
    return {
        what: [max(1e-3, mine[what] - theirs[what]) for mine, theirs in zip(told, bare, strict=True)]
        for what in ("s", "processor s")
    }


def _turn(given: Namespace, name: str, models: str) -> dict[str, float]:
    """Run the flow once in this process."""
    warnings.filterwarnings("ignore")
    with ground(given) as place:
        import prefect

        import flowml
        from contestants import leave_mlflow_plain
        from models import complete_models

        leave_mlflow_plain()
        store = place.store(name.replace(".", "-").replace(",", ""), flowmls=name == _FLOWML)
        store.use()
        kit = flowml if name == _FLOWML else prefect
        flow = _flow(kit, store, name)
        flow(0)
        began, busy = time.perf_counter(), _processor()
        flow(int(models))
        flowml.flush()
        spent = {"s": time.perf_counter() - began, "processor s": _processor() - busy}
        return {**spent, "complete": complete_models(store) if name != _BARE else 0}


def _flow(kit: Any, store: Any, name: str) -> Callable[[int], None]:
    import mlflow
    from prefect.cache_policies import NO_CACHE
    from prefect.task_runners import ThreadPoolTaskRunner
    from sklearn import datasets, linear_model, pipeline, preprocessing

    table, truth = datasets.load_breast_cancer(return_X_y=True, as_frame=True)
    given = {"pip_requirements": []} if name == _GIVEN else {}

    def fit(inputs: Any, c: float) -> Any:
        model = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression(C=c))
        model.fit(inputs, truth)
        if name in {_HAND, _GIVEN}:
            with mlflow.start_run(experiment_id=store.experiment_id):
                mlflow.sklearn.log_model(
                    model, name="model", input_example=inputs.head(5), serialization_format="skops", **given
                )
        return model

    step = kit.task(fit, name="fit", cache_policy=NO_CACHE, persist_result=False)

    @kit.flow(name="first-models", task_runner=ThreadPoolTaskRunner(max_workers=AT_ONCE))
    def of_models(models: int) -> None:
        for future in [step.submit(table, 1.0 + number) for number in range(models)]:
            future.result()

    return of_models


def _processor() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


if __name__ == "__main__":
    parser = options(__doc__, rounds=3)
    parser.add_argument("--turn", nargs=2, metavar=("CONTESTANT", "MODELS"), help="what each process does")
    main(parser.parse_args())
