"""Sequences of calls of MLflow's fluent API, drawn by hypothesis, and two who carry them out: MLflow alone, and a task.

The task's own run stands for the one run that is active around the sequence in MLflow alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import mlflow
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow import active_run as active_run_by_name
from mlflow import end_run as end_run_by_name
from mlflow import log_metric as log_metric_by_name
from mlflow import start_run as start_run_by_name
from mlflow.tracking import fluent

KEYS = ("a", "b")
EXPERIMENTS = ("base", "other")


@dataclass(frozen=True)
class Call:
    """One call: what is called, with what; of a ``with`` block, what is called inside."""

    name: str
    given: dict[str, Any] = field(default_factory=dict)
    inside: tuple[Call, ...] = ()


def _starts(inside: st.SearchStrategy[tuple[Call, ...]]) -> st.SearchStrategy[Call]:
    given = st.fixed_dictionaries(
        {"nested": st.booleans()},
        optional={"run_name": st.sampled_from(["x", "y"]), "experiment": st.sampled_from(EXPERIMENTS)},
    )
    return st.builds(Call, st.just("with"), given, inside)


_SIMPLE = st.one_of(
    st.builds(
        Call,
        st.just("start_run"),
        st.fixed_dictionaries(
            {"nested": st.booleans(), "by_name": st.booleans()}, optional={"run_name": st.just("open")}
        ),
    ),
    st.builds(Call, st.just("resume"), st.fixed_dictionaries({"which": st.integers(0, 2), "nested": st.booleans()})),
    st.builds(Call, st.just("end_run"), st.fixed_dictionaries({"by_name": st.booleans()})),
    st.just(Call("end_run", {"status": "FAILED"})),
    st.just(Call("end_all")),
    st.builds(Call, st.just("active_run"), st.fixed_dictionaries({"by_name": st.booleans()})),
    st.just(Call("last_active_run")),
    st.builds(Call, st.just("log_metric"), st.fixed_dictionaries({"key": st.sampled_from(KEYS)})),
    st.builds(
        Call,
        st.just("log_param"),
        st.fixed_dictionaries({"key": st.sampled_from(KEYS), "value": st.integers(0, 1)}),
    ),
    st.just(Call("log_params")),
    st.just(Call("log_metrics")),
    st.just(Call("set_tag")),
    st.builds(Call, st.just("set_experiment"), st.fixed_dictionaries({"name": st.sampled_from(EXPERIMENTS)})),
    st.builds(Call, st.just("autolog"), st.fixed_dictionaries({"disable": st.booleans()})),
    st.just(Call("fit")),
    st.just(Call("raise")),
)

sequences = st.recursive(
    st.lists(_SIMPLE, max_size=6).map(tuple),
    lambda inside: st.lists(st.one_of(_SIMPLE, _starts(inside)), max_size=6).map(tuple),
    max_leaves=12,
)


class MlflowAlone:
    """Carries calls out in MLflow, inside one run.

    What a task's run differs in is said here: ``start_run()`` directly inside it opens a run below it with or without
    ``nested``, and ``end_run()`` there ends nothing, though no run is "active" until something is logged.
    """

    def __init__(self, own: str) -> None:
        self.own = own
        self.is_ended = False
        self.ended_before = _ended_last()  # what was ended last when the own run was used last

    def _is_own(self) -> bool:
        run = mlflow.active_run()
        return run is not None and run.info.run_id == self.own

    def start_run(self, *, by_name: bool = False, **given: Any) -> Any:
        """Open a run."""
        if self._is_own():
            given["nested"] = True
        return (start_run_by_name if by_name else mlflow.start_run)(**given)

    def end_run(self, *, by_name: bool = False, **given: Any) -> None:
        """End the innermost."""
        if self._is_own():
            self.is_ended = True
        else:
            (end_run_by_name if by_name else mlflow.end_run)(**given)

    def active_run(self, *, by_name: bool = False) -> Any:
        """Give the innermost."""
        if self._is_own():
            if self.is_ended:
                return None
            self.ended_before = _ended_last()
        return (active_run_by_name if by_name else mlflow.active_run)()

    def last_active_run(self) -> Any:
        """Give the innermost, or the one that was ended last, if the own one was not used since."""
        last = _ended_last()
        if self._is_own() and last and (self.is_ended or last != self.ended_before):
            return mlflow.get_run(last)
        return self.active_run()

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Log something."""
        try:
            yield
        finally:
            if self._is_own():
                self.is_ended, self.ended_before = False, _ended_last()


def _ended_last() -> str | None:
    return fluent._last_active_run_id.get()


class InATask:
    """Carries calls out just as they are."""

    start_run = staticmethod(
        lambda *, by_name=False, **given: (start_run_by_name if by_name else mlflow.start_run)(**given)
    )
    end_run = staticmethod(lambda *, by_name=False, **given: (end_run_by_name if by_name else mlflow.end_run)(**given))
    active_run = staticmethod(lambda *, by_name=False: (active_run_by_name if by_name else mlflow.active_run)())
    last_active_run = staticmethod(mlflow.last_active_run)

    @staticmethod
    @contextmanager
    def logging() -> Iterator[None]:
        """Log something."""
        yield


class Run:
    """Carries a sequence out, and notes what each call gave.

    Args:
        by: Who carries it out.
        own: Gives the id of the run around it.
    """

    def __init__(self, by: Any, own: Any) -> None:
        self._by = by
        self._own = own
        self.ids: list[str] = []
        self.seen: list[Any] = []
        self._step = 0
        self._is_autologging = False

    def all_of(self, calls: tuple[Call, ...]) -> None:
        """Carry calls out; one that fails is noted, and the next one follows."""
        for call in calls:
            try:
                self.seen.append((call.name, self._one(call)))
            except Boom:
                raise
            except Exception as error:  # noqa: BLE001 - of MLflow: both must raise the same
                self.seen.append((call.name, type(error).__name__))

    def name_of(self, run: Any) -> str | None:
        """Name a run by the order in which they were opened."""
        if run is None or run.info.run_id not in [*self.ids, self._own()]:
            return None
        return "own" if run.info.run_id == self._own() else str(self.ids.index(run.info.run_id))

    def _one(self, call: Call) -> Any:  # noqa: C901, PLR0911, PLR0912 - a line or two for each call
        by, given = self._by, dict(call.given)
        match call.name:
            case "start_run":
                return self._opened(by.start_run(**given))
            case "with":
                name = given.pop("experiment", None)
                if name:
                    given["experiment_id"] = MlflowClient().get_experiment_by_name(name).experiment_id
                try:
                    with by.start_run(**given) as run:
                        self._opened(run)
                        self.all_of(call.inside)
                except Boom:
                    return "boom"
                return None
            case "resume":
                if given["which"] >= len(self.ids):
                    return None
                return self.name_of(by.start_run(run_id=self.ids[given["which"]], nested=given["nested"]))
            case "end_run":
                return by.end_run(**given)
            case "end_all":
                while by.active_run():
                    by.end_run()
                return None
            case "active_run":
                return self.name_of(by.active_run(**given))
            case "last_active_run":
                return self.name_of(by.last_active_run())
            case "set_experiment":
                return mlflow.set_experiment(given["name"]).name
            case "autolog":
                self._is_autologging = not given["disable"]
                return mlflow.sklearn.autolog(
                    disable=given["disable"],
                    log_models=False,
                    log_datasets=False,
                    log_post_training_metrics=False,
                    silent=True,
                )
            case "raise":
                raise Boom
            case "fit" if not self._is_autologging or by.active_run() is None:
                return None  # without a run, autologging opens and ends one of its own, which no call here gives
        with by.logging():
            return self._log(call.name, given)

    def _log(self, name: str, given: dict[str, Any]) -> None:
        self._step += 1
        match name:
            case "log_metric":
                log_metric_by_name(given["key"], float(self._step), step=self._step)
            case "log_param":
                mlflow.log_param(given["key"], given["value"])
            case "log_params":
                mlflow.log_params({"c": 1, "d": "two"})
            case "log_metrics":
                mlflow.log_metrics({"m": float(self._step), "n": 0.5}, step=self._step)
            case "set_tag":
                mlflow.set_tag("mine", self._step)
            case "fit":
                from sklearn.linear_model import LinearRegression

                LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])

    def _opened(self, run: Any) -> str | None:
        if run.info.run_id not in self.ids:
            self.ids.append(run.info.run_id)
        return self.name_of(run)


class Boom(Exception):  # noqa: N818 - what it is
    """What the user's code raises inside a ``with`` block."""


def held(client: MlflowClient, run: Run, own: str) -> list[Any]:
    """Return what the runs of a sequence hold, the one around it first."""
    return [_held(client, run, run_id, is_own=run_id == own) for run_id in [own, *run.ids]]


def _held(client: MlflowClient, run: Run, run_id: str, *, is_own: bool) -> Any:
    found = client.get_run(run_id)
    tags = found.data.tags
    above = tags.get("mlflow.parentRunId") or tags.get("flowml.parent_run_id")
    experiment = client.get_experiment(found.info.experiment_id).name
    return {
        "params": dict(found.data.params),
        "metrics": {key: [m.value for m in client.get_metric_history(run_id, key)] for key in found.data.metrics},
        "tags": {key: value for key, value in tags.items() if "." not in key},
        "experiment": experiment,
        "name": None if is_own else (found.info.run_name if found.info.run_name in {"x", "y", "open"} else "random"),
        "status": None if is_own else found.info.status,
        "under": None if is_own else run.name_of(client.get_run(above)) if above else None,
    }
