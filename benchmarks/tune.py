"""A search for parameters, against Optuna alone by joblib's threads, and against Optuna in tasks of bare Prefect.

Each study is a journal file of its own. Counted is what each left: trials in the study, and runs in MLflow.
"""

from __future__ import annotations

import statistics
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from report import Goal, options, report
from stores import ground

JOBLIB, PREFECT, FLOWML = "Optuna, joblib", "Optuna in Prefect's tasks", "flowml.tune"
_MOST = 1.10
_WARM_UP = 8

Search = Callable[[str, int], Any]


def body(x: float, y: int, kind: str, seconds: float) -> dict[str, float]:
    """Be a fit that waits for something else than Python."""
    time.sleep(seconds)
    return {"loss": (x - 0.3) ** 2 + y + len(kind)}


def space() -> dict[str, Any]:
    """Return what is tried."""
    from flowml import Choice, Float, Int

    return {"x": Float(1e-3, 1, log=True), "y": Int(0, 8), "kind": Choice("a", "b")}


def searches(folder: Path, given: Namespace) -> dict[str, Search]:
    """Return the three; each returns its study."""
    import optuna
    import prefect
    from joblib import Parallel, delayed
    from optuna.storages.journal import JournalFileBackend
    from prefect.cache_policies import NO_CACHE
    from prefect.task_runners import ThreadPoolTaskRunner

    import flowml

    samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    distributions = {name: one.distribution() for name, one in space().items()}

    def begun(name: str) -> Any:
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / f"{name}.journal")))
        return optuna.create_study(storage=storage, sampler=samplers[given.sampler](seed=0))

    def one_trial(study: Any) -> None:
        trial = study.ask(distributions)
        study.tell(trial, body(**trial.params, seconds=given.body)["loss"])

    def by_joblib(name: str, trials: int) -> Any:
        study = begun(name)
        Parallel(n_jobs=given.parallel, backend="threading")(delayed(one_trial)(study) for _ in range(trials))
        return study

    def by_prefect(name: str, trials: int) -> Any:
        study = begun(name)
        task = prefect.task(name="trial", cache_policy=NO_CACHE)(lambda _: one_trial(study))

        @prefect.flow(name="search", task_runner=ThreadPoolTaskRunner(max_workers=given.parallel))
        def search() -> None:
            task.map(range(trials)).wait()

        search()
        return study

    fit = flowml.task(name="trial", cache_policy=NO_CACHE)(body)

    def by_flowml(name: str, trials: int) -> Any:
        sampler = samplers[given.sampler](seed=0)
        much = {"trials": trials, "parallel": given.parallel, "name": name, "sampler": sampler}
        return flowml.tune(fit, seconds=given.body, minimize="loss", **space(), **much).optuna

    return {JOBLIB: by_joblib, PREFECT: by_prefect, FLOWML: by_flowml}


def main(given: Namespace) -> None:
    """Measure, count and print."""
    with ground(given) as place:
        import optuna

        from contest import described, insist, ratio, settle, without_heartbeat

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        store = place.store(FLOWML, flowmls=True)
        store.use()
        contestants = searches(place.folder, given)
        wall: dict[str, list[float]] = {name: [] for name in contestants}
        cpu: dict[str, list[float]] = {name: [] for name in contestants}
        counted = dict.fromkeys(contestants, 0)
        with without_heartbeat():
            for name, search in contestants.items():
                search(f"{name} to warm up", _WARM_UP)
            for number in range(given.rounds):
                for name, search in contestants.items():
                    settle()
                    began, used = time.perf_counter(), time.process_time()
                    study = search(f"{name} {number}", given.tasks)
                    wall[name].append(time.perf_counter() - began)
                    cpu[name].append(time.process_time() - used)
                    counted[name] += sum(trial.state.name == "COMPLETE" for trial in study.get_trials(deepcopy=False))
        insist(counted, dict.fromkeys(contestants, given.tasks * given.rounds))
        runs = sum("flowml.trial" in run.data.tags for run in store.runs())
        insist({"runs": runs}, {"runs": given.tasks * given.rounds + _WARM_UP})
    each = 1000 / given.tasks
    rows = [
        {
            "contestant": name,
            "ms for a trial": statistics.median(wall[name]) * each,
            "/ joblib": ratio(wall[name], wall[JOBLIB]),
            "ms of CPU for a trial": statistics.median(cpu[name]) * each,
        }
        for name in contestants
    ]
    goals = [Goal("the search, flowml / Optuna by joblib", ratio(wall[FLOWML], wall[JOBLIB]), most=_MOST)]
    title = f"{given.tasks} trials, {given.parallel} at a time, {given.sampler}: {described(given)}"
    report(given, title, rows, goals, {**counted, "flowml's runs in MLflow": runs})


if __name__ == "__main__":
    parser = options(__doc__, tasks=1000, rounds=3)
    parser.set_defaults(body=0.05)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--sampler", choices=("tpe", "random"), default="tpe", help="default: %(default)s")
    main(parser.parse_args())
