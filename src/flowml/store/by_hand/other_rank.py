"""Plain ``mlflow.*`` calls on a rank that is not the first of its training: they go nowhere, or under its own name.

Each rank runs the same script, and what it logs is the same: once is enough. What is asked of MLflow is answered as on
the first rank, so that no script has to ask which rank it is on.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flowml.patches import in_place
from flowml.store.backend import mlflow_state
from flowml.store.by_hand import active, fluent
from flowml.store.by_hand.logged import ByHand, HeldParams, Logged
from flowml.store.by_hand.opened import Opened, Stack

if TYPE_CHECKING:
    import inspect

    from mlflow import ActiveRun
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

    from flowml import records

_METRICS = ("log_metric", "log_batch")
_FILES = {
    **dict.fromkeys(("log_artifact", "log_artifacts"), "artifact_path"),
    **dict.fromkeys(("log_text", "log_dict", "log_stream", "log_figure", "log_image", "log_table"), "artifact_file"),
}
"""What logs files, and the argument that says where."""
_OTHERS = (
    *("create_run", "update_run", "set_terminated", "log_param", "set_tag", "delete_tag", "log_inputs", "log_outputs"),
    *("create_logged_model", "finalize_logged_model", "log_model_params", "log_model_artifact", "log_model_artifacts"),
    *("set_logged_model_tags", "delete_logged_model_tag", "delete_logged_model"),
)

_VERSIONS = ("create_model_version", "copy_model_version", "update_model_version", "transition_model_version_stage")
_REGISTRY = (
    *("create_registered_model", "update_registered_model", "set_registered_model_alias", "set_registered_model_tag"),
    *("delete_registered_model_alias", "delete_registered_model_tag", "set_model_version_tag"),
    *("delete_model_version_tag", *_VERSIONS),
)

_goes_through: ContextVar[bool] = ContextVar("flowml_rank_goes_through", default=False)
_of_process: OtherRank | None = None  # also answers for threads that the script began without a context


class OtherRank:
    """The session of a rank as `flowml.store.by_hand.active.Here` wants it.

    Args:
        run: The run of the task, whose ids it shows; None if they are not known here.
        prefix: What the names of its metrics and files begin with; None where they go nowhere.
        say: Tells the user something.
    """

    joins = True
    held: HeldParams | None = None

    def __init__(self, run: records.CurrentRun | None, prefix: str | None, say: Callable[[str], None]) -> None:
        self.stack = Stack()
        self.by_hand: ByHand[Opened] = ByHand(None)
        self.logged = Logged()
        self.say = say
        self.prefix = prefix
        self._ids = (run.run_id, run.experiment_id) if run else (uuid4().hex, "0")

    def own(self) -> ActiveRun:
        """Return the task's run as this rank sees it: nothing is asked of MLflow for it."""
        from mlflow import ActiveRun
        from mlflow.entities import Run, RunData, RunInfo

        run_id, experiment_id = self._ids
        began = int(time.time() * 1000)
        info = RunInfo(run_id, experiment_id, "", "RUNNING", began, None, "active")
        return ActiveRun(Run(info, RunData()))

    def run_id(self) -> str:
        """Return the run's id."""
        return self._ids[0]

    def lost(self) -> bool:
        """Leave it to the first rank whether the run is still there."""
        return False

    def other_run(self) -> str:
        """Know no other run."""
        return self._ids[0]

    def opened_apart(self, run: ActiveRun) -> None:
        """Open none."""

    def choosing_experiment(self) -> AbstractContextManager[None]:
        """Have no store to choose."""
        return nullcontext()

    def chose_experiment(self, name: str, experiment_id: str) -> None:
        """Log to none."""

    def instead(self, name: str, original: Callable[..., Any], given: inspect.BoundArguments) -> Any:
        """Do what takes the place of a method of MLflow's client that writes."""
        arguments = given.arguments
        if name == "create_run":
            return self.own()
        if self.prefix is not None and (name in _METRICS or name in _FILES):
            self._put_under(name, arguments)
            token = _goes_through.set(True)  # the method may call another of them
            try:
                return original(*given.args, **given.kwargs)
            finally:
                _goes_through.reset(token)
        return self._answer(name, arguments)

    def _answer(self, name: str, given: Mapping[str, Any]) -> Any:
        """Return what looks as if it was done."""
        answer: Any = given.get("value") if name == "log_param" else None
        if name in {"create_logged_model", "finalize_logged_model"}:
            answer = self._model(given.get("name"), given.get("model_id"))
        elif name in {"create_registered_model", "update_registered_model"}:
            from mlflow.entities.model_registry import RegisteredModel

            answer = RegisteredModel(given["name"])
        elif name in _VERSIONS:
            answer = _version(given.get("dst_name") or given["name"])
        elif given.get("synchronous") is False:
            from mlflow.utils.async_logging.run_operations import RunOperations

            answer = RunOperations([])
        return answer

    def _put_under(self, name: str, arguments: dict[str, Any]) -> None:
        """Put what is logged under the rank's own name."""
        from mlflow.entities import Metric

        if name == "log_metric":
            arguments["key"] = f"{self.prefix}{arguments['key']}"
        elif name == "log_batch":
            arguments["metrics"] = [
                Metric(f"{self.prefix}{each.key}", each.value, each.timestamp, each.step)
                for each in arguments.get("metrics") or ()
            ]
            arguments.pop("params", None)
            arguments.pop("tags", None)
        elif name == "log_image" and arguments.get("key"):
            arguments["key"] = f"{self.prefix}{arguments['key']}"
        else:
            where = _FILES[name]
            arguments[where] = f"{self.prefix}{arguments.get(where) or ''}".rstrip("/")

    def _model(self, name: str | None, model_id: str | None) -> LoggedModel:
        from mlflow.entities import LoggedModel

        now = int(time.time() * 1000)
        return LoggedModel(self._ids[1], model_id or f"m-{uuid4().hex}", name or "model", "", now, now)

    def log_model(self, given: dict[str, Any]) -> Any:
        """Log no model; what is returned looks as if one was logged."""
        from mlflow.models.model import ModelInfo

        model = self._model(given.get("name") or given.get("artifact_path"), None)
        flavor = getattr(given.get("flavor"), "FLAVOR_NAME", None)
        return ModelInfo(
            artifact_path=model.name,
            flavors={flavor: {}} if flavor else {},
            model_uri=f"models:/{model.model_id}",
            model_uuid=model.model_id,
            run_id=self._ids[0],
            saved_input_example_info=None,
            signature=given.get("signature"),
            utc_time_created="",
            mlflow_version="",
            logged_model=model,
        )


def _version(name: str) -> ModelVersion:
    """Return what looks like a new version of a registered model."""
    from mlflow.entities.model_registry import ModelVersion

    return ModelVersion(name, "0", int(time.time() * 1000), status="READY")


@contextmanager
def on_other_rank(session: OtherRank) -> Iterator[None]:
    """Have what is logged by ``mlflow.*`` in this process go where the rank's goes, wherever no session says so."""
    global _of_process  # noqa: PLW0603 - the one place that holds it
    _install()
    before, _of_process = _of_process, session
    try:
        with fluent.activated(session):
            yield
    finally:
        _of_process = before
        runs = mlflow_state.own_stack()  # of threads without a context, where they are this thread's: nobody ends them
        runs[:] = [run for run in runs if run.info.run_id != session.run_id()]


def _here() -> OtherRank | None:
    if _goes_through.get():
        return None
    session = active.here()
    if session is None:
        return _of_process
    return session if isinstance(session, OtherRank) else None


@functools.cache
def _install() -> None:
    """Wrap the methods of MLflow's client that write, once for the process."""
    import mlflow
    from mlflow import MlflowClient
    from mlflow.models import Model

    fluent.install()
    for name in (*_METRICS, *_FILES, *_OTHERS, *_REGISTRY):
        _wrap(MlflowClient, name)
    register, original = mlflow.register_model, Model.log.__func__

    @functools.wraps(register)
    def register_model(model_uri: str, name: str, *args: Any, **kwargs: Any) -> ModelVersion:
        return register(model_uri, name, *args, **kwargs) if _here() is None else _version(name)

    @functools.wraps(original)
    def log(cls: type[Model], *args: Any, **kwargs: Any) -> Any:
        other = _here()
        return original(cls, *args, **kwargs) if other is None else other.log_model(kwargs)

    mlflow.register_model = register_model
    Model.log = classmethod(log)  # type: ignore[method-assign]


def _wrap(kind: type, name: str) -> None:
    original = getattr(kind, name)

    @functools.wraps(original)
    def wrapped(client: Any, *args: Any, **kwargs: Any) -> Any:
        if (other := _here()) is None:
            return original(client, *args, **kwargs)
        try:
            given = in_place.signature(original).bind(client, *args, **kwargs)
        except TypeError:
            return original(client, *args, **kwargs)  # which says what is wrong
        return other.instead(name, original, given)

    setattr(kind, name, wrapped)
