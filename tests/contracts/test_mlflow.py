"""What flowml relies on in MLflow beyond what is documented, on each MLflow that it admits."""

from __future__ import annotations

import importlib
import inspect
import logging
import threading
import types
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow import MlflowClient
from mlflow.entities import LiveSpan, Metric, Param, RunTag, Span, TraceInfo, TraceLocation, TraceState
from mlflow.entities.span import create_mlflow_span
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracing import provider
from mlflow.tracing.client import TracingClient
from mlflow.tracing.constant import SpanAttributeKey, TokenUsageKey
from mlflow.tracing.trace_manager import InMemoryTraceManager
from mlflow.tracking import _model_registry, fluent
from mlflow.tracking.context.registry import resolve_tags
from mlflow.tracking.default_experiment import registry as default_experiment
from mlflow.tracking.default_experiment.abstract_context import DefaultExperimentProvider
from mlflow.utils import _spark_utils, import_hooks, providers, request_utils, requirements_utils
from mlflow.utils.async_logging.run_operations import RunOperations
from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS
from mlflow.utils.thread_utils import ThreadLocalVariable
from mlflow.utils.uri import append_to_uri_path
from mlflow.utils.validation import _validate_batch_log_data, _validate_param
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from tests.ends.processes import until

import flowml.store.backend.requests as own_requests
from flowml import mlflow_limits
from flowml.store.backend import retrying, sql_tables
from flowml.store.by_hand import fluent as taken_over
from flowml.store.by_hand import spans
from flowml.store.models import flavors

pytestmark = pytest.mark.compat


@pytest.fixture
def store(project: Path) -> MlflowClient:
    """A client of the project's store, without any flow, and without Prefect."""
    mlflow.set_tracking_uri(f"sqlite:///{project / '.flowml' / 'mlflow.db'}")
    return MlflowClient()


def test_what_looks_for_modules_at_each_call() -> None:
    """`_get_active_spark_session` and `register_post_import_hook` can be exchanged, `_get_store_registry` be called."""
    assert isinstance(_spark_utils._get_active_spark_session, types.FunctionType)
    assert _spark_utils._get_active_spark_session.__code__.co_freevars == ()
    assert set(import_hooks.register_post_import_hook.__code__.co_freevars) == {"f", "lock"}
    assert _model_registry.utils._get_store_registry()


def test_the_owners_of_modules() -> None:
    """`_MODULES_TO_PACKAGES` is filled once, with the packages of each module."""
    requirements_utils.warn_dependency_requirement_mismatches(["mlflow"])
    assert "scikit-learn" in requirements_utils._MODULES_TO_PACKAGES["sklearn"]


@pytest.mark.parametrize("name", taken_over._TAKEN_OVER)
def test_a_function_that_is_taken_over(name: str) -> None:
    """It is a plain function of the fluent API, `_get_or_start_run` among them, whose code can be exchanged."""
    function = getattr(fluent, name)
    assert isinstance(function, types.FunctionType)
    assert function.__code__.co_freevars == ()


def test_the_stack_of_active_runs(store: MlflowClient) -> None:
    """`_active_run_stack` has a list for each thread, `_last_active_run_id` the run that was ended last in it."""
    assert taken_over.install()
    assert isinstance(fluent._active_run_stack, ThreadLocalVariable)
    with mlflow.start_run() as run:
        assert fluent._active_run_stack.get() == [run]
        seen: list[object] = []
        thread = threading.Thread(target=lambda: seen.extend(fluent._active_run_stack.get()))
        thread.start()
        thread.join()
        assert seen == []
    assert fluent._active_run_stack.get() == []
    assert fluent._last_active_run_id.get() == run.info.run_id


def test_the_experiment_that_is_active(store: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """`_active_experiment_id` is what `set_experiment` chose; `_get_experiment_id` asks providers where it is unset."""
    chosen = mlflow.set_experiment("chosen").experiment_id
    assert (fluent._active_experiment_id, fluent._get_experiment_id()) == (chosen, chosen)

    class Own(DefaultExperimentProvider):
        def in_context(self) -> bool:
            return True

        def get_experiment_id(self) -> str:
            return "17"

    monkeypatch.setattr(fluent, "_active_experiment_id", None)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)  # what `set_experiment` tells other processes
    monkeypatch.setattr(default_experiment._default_experiment_provider_registry, "_registry", [])
    default_experiment._default_experiment_provider_registry.register(Own)
    assert fluent._get_experiment_id() == "17"


def test_a_clients_store(store: MlflowClient) -> None:
    """A client's `_tracking_client` has the store, with an engine, and the method `_log_url` that prints addresses."""
    assert type(store._tracking_client.store) is SqlAlchemyStore
    assert store._tracking_client.store.engine.dialect.name == "sqlite"
    assert list(inspect.signature(store._tracking_client._log_url).parameters) == ["run_id"]
    assert sql_tables.serves(store)


def test_what_is_removed_for_good(store: MlflowClient) -> None:
    """`_hard_delete_run` and `_hard_delete_logged_model` remove what they are given, nothing else that is deleted."""
    runs = [store.create_run("0").info.run_id for _ in range(2)]
    models = [store.create_logged_model("0", f"m{number}").model_id for number in range(2)]
    for run_id, model_id in zip(runs, models, strict=True):
        store.delete_run(run_id)
        store.delete_logged_model(model_id)
    of_client = store._tracking_client.store
    of_client._hard_delete_run(runs[0])
    of_client._hard_delete_logged_model(models[0])
    assert store.get_run(runs[1]).info.lifecycle_stage == "deleted"
    assert of_client.get_logged_model(models[1], allow_deleted=True).name == "m1"
    with pytest.raises(MlflowException, match="not found"):
        store.get_run(runs[0])
    with pytest.raises(MlflowException, match="not found"):
        of_client.get_logged_model(models[0], allow_deleted=True)


def test_the_tables_of_a_run() -> None:
    """They have the columns that are written, and no other."""
    models = importlib.import_module("mlflow.store.tracking.dbmodels.models")
    for name, columns in sql_tables.COLUMNS.items():
        assert {column.name for column in getattr(models, name).__table__.columns} == set(columns.split())


def test_what_is_refused() -> None:
    """`_validate_batch_log_data` and `_validate_param` refuse what MLflow's calls refuse, and give the rest back."""
    given = [Metric("loss", 0.5, 0, 0)], [Param("rows", "3")], [RunTag("of", "me")]
    assert [list(map(dict, kept)) for kept in _validate_batch_log_data(*given)] == [
        list(map(dict, kept)) for kept in given
    ]
    with pytest.raises(MlflowException):
        _validate_batch_log_data([Metric("../loss", 0.5, 0, 0)], [], [])
    with pytest.raises(MlflowException):
        _validate_param("../rows", "3")
    assert append_to_uri_path("/runs", "17", "artifacts") == "/runs/17/artifacts"


def test_what_its_login_answers() -> None:
    """What `mlflow.server.auth` refuses it says in text, without an error code."""
    source = (Path(mlflow.__file__).parent / "server" / "auth" / "__init__.py").read_text()
    answers = " ".join(source.split()).replace("( ", "(")
    assert f'make_response("{retrying._DENIED}' in answers
    assert 'make_response("You are not authenticated' in answers
    assert "res.status_code = 401" in answers


def test_what_the_users_code_logs_through(store: MlflowClient) -> None:
    """The fluent functions log by the methods of the client that are observed; `Model.log` is a class method."""
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        for name in ("log_metric", "log_param", "log_batch", "set_tag", "log_inputs"):
            plain = getattr(MlflowClient, name)
            patched.setattr(
                MlflowClient, name, lambda *args, _n=name, _p=plain, **kw: seen.append(_n) or _p(*args, **kw)
            )
        with mlflow.start_run():
            mlflow.log_metric("loss", 0.5)
            mlflow.log_param("rows", 3)
            mlflow.log_params({"a": 1})
            mlflow.log_metrics({"b": 1.0})
            mlflow.set_tag("of", "me")
    assert {"log_metric", "log_param", "log_batch", "set_tag"} <= set(seen)
    assert inspect.ismethod(Model.log)
    assert RunOperations([]).wait() is None


def test_the_settings_of_autologging() -> None:
    """They stand in a dictionary for each integration, where flowml's own are put."""
    assert isinstance(AUTOLOGGING_INTEGRATIONS, dict)


def test_limits() -> None:
    """MLflow takes as much as flowml thinks, and no more."""
    limits = importlib.import_module("mlflow.utils.validation")
    assert limits.MAX_ENTITY_KEY_LENGTH == mlflow_limits.KEY
    assert limits.MAX_PARAM_VAL_LENGTH == mlflow_limits.PARAM
    assert limits.MAX_TAG_VAL_LENGTH == mlflow_limits.TAG
    assert limits.MAX_DATASET_NAME_SIZE == mlflow_limits.DATASET_NAME
    assert limits.MAX_DATASET_SCHEMA_SIZE == mlflow_limits.SCHEMA
    assert limits.MAX_DATASET_PROFILE_SIZE == mlflow_limits.PROFILE
    assert limits.MAX_PARAMS_TAGS_PER_BATCH == mlflow_limits.BATCH_PARAMS == mlflow_limits.BATCH_TAGS
    assert limits.MAX_ENTITIES_PER_BATCH == mlflow_limits.BATCH


def test_the_model_of_an_autologged_estimator() -> None:
    """scikit-learn's autologging knows which model it logged of an object, on which it leaves `_mlflow_run_id`."""
    flavor, estimator = importlib.import_module("mlflow.sklearn"), types.SimpleNamespace()
    flavor._AUTOLOGGING_METRICS_MANAGER.register_model(estimator, "17")
    assert vars(estimator) == {"_mlflow_run_id": "17"}
    assert flavor._AUTOLOGGING_METRICS_MANAGER.get_model_id_for_model(object()) is None


def test_sessions_of_requests() -> None:
    """All come from `_get_request_session`, which takes the number of retries first."""
    own_requests.install()
    assert isinstance(request_utils._get_request_session(1, 1, 1, (500,), True, False), requests.Session)
    assert "_get_request_session" in request_utils._get_http_response_with_retries.__code__.co_names


def test_repositories_of_artifacts(project: Path) -> None:
    """An entry point takes the place of MLflow's own for a scheme."""
    found = get_artifact_repository("mlflow-artifacts:/a", f"sqlite:///{project / '.flowml' / 'mlflow.db'}")
    assert found.artifact_uri == f"{(project / '.flowml' / 'artifacts').as_uri()}/a"
    parameters = list(inspect.signature(MlflowArtifactsRepository).parameters)
    assert parameters[:3] == ["artifact_uri", "tracking_uri", "registry_uri"]


def test_tags_of_a_run() -> None:
    """`resolve_tags` asks each provider of a run's context, flowml's own among them."""
    assert {"mlflow.user", "mlflow.source.name"} <= resolve_tags().keys()


def test_traces_that_are_sent_in_the_background() -> None:
    """They have a module of their own, which is loaded when there are any, and a function that waits for them."""
    assert importlib.util.find_spec("mlflow.tracing.export.async_export_queue")
    assert callable(mlflow.flush_trace_async_logging)


def test_a_span_of_another_tracer_is_above_mlflows_own(store: MlflowClient) -> None:
    """MLflow's registry takes a trace and a span that its own tracer did not make; the active one is the parent."""
    tracer = TracerProvider(ALWAYS_ON, Resource({}), shutdown_on_exit=False).get_tracer("another")
    made = tracer.start_span("above")
    ids = made.get_span_context()
    trace_id, manager = f"tr-{ids.trace_id:032x}", InMemoryTraceManager.get_instance()
    location = TraceLocation.from_experiment_id("0")
    manager.register_trace(ids.trace_id, TraceInfo(trace_id, location, 0, TraceState.IN_PROGRESS))
    above = create_mlflow_span(made, trace_id, "TASK")
    manager.register_span(above)
    with provider.safe_set_span_in_context(above):
        assert mlflow.get_current_active_span() is above
        with mlflow.start_span("below") as below:
            assert (below.trace_id, below.parent_id) == (trace_id, above.span_id)
    mlflow.flush_trace_async_logging()
    fields = {**above.to_dict(), "end_time_unix_nano": above.start_time_ns + 1}
    TracingClient(store.tracking_uri).log_spans("0", [Span.from_dict(fields)])
    TracingClient(store.tracking_uri).start_trace(TraceInfo(trace_id, location, 0, TraceState.OK))
    TracingClient(store.tracking_uri).log_spans("0", [Span.from_dict(fields)])  # twice: it is there once
    with manager.get_trace(trace_id) as known:
        assert known is not None
        assert above.span_id in known.span_dict
    manager.pop_trace(ids.trace_id)
    trace = store.get_trace(trace_id)
    assert {(span.name, span.parent_id) for span in trace.data.spans} == {("above", None), ("below", above.span_id)}


@pytest.mark.parametrize("name", [name for name in flavors._ADVISERS if name.startswith("mlflow.")])
def test_who_advises(name: str) -> None:
    """Advice comes from loggers named like modules that there are."""
    assert importlib.util.find_spec(name)
    assert logging.getLogger(name)


def test_the_aliases_of_a_prompt(store: MlflowClient) -> None:
    """`_get_registry_client` tells all aliases of a prompt, which MLflow's client tells one version at a time."""
    store.register_prompt("summarize", "Summarize {{text}}")
    store.set_prompt_alias("summarize", "production", 1)
    found = store._get_registry_client().get_registered_model("summarize").aliases
    assert {name: int(version) for name, version in found.items()} == {"production": 1}
    assert store.get_prompt_version("summarize", 1).aliases == ["production"]


def test_prompts_are_linked_to_traces_in_memory(store: MlflowClient) -> None:
    """What `InMemoryTraceManager` is told of a trace while it is open is a link some time after it is exported."""
    prompt = store.register_prompt("summarize", "Summarize {{text}}")
    with mlflow.start_span("asked") as span:
        InMemoryTraceManager.get_instance().register_prompt(span.trace_id, prompt)

    def linked() -> str:  # a thread of MLflow's own writes it, which nothing waits for
        return str(mlflow.get_trace(span.trace_id, flush=True).info.tags.get("mlflow.linkedPrompts", ""))

    assert "summarize" in until(linked, "the prompt is linked", 60)


def test_the_list_of_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """`_load_bundled_provider` and `_lookup_model_info` tell what a token costs, and ask nobody for it."""
    monkeypatch.setattr(providers, "cloud_storage_http_request", lambda *_, **__: pytest.fail("the network was asked"))
    of_openai = providers._load_bundled_provider("openai")["gpt-4o-mini"]
    assert of_openai["input_cost_per_token"] < of_openai["output_cost_per_token"] < 1e-3
    assert of_openai["cache_read_input_token_cost"] < of_openai["input_cost_per_token"]
    assert providers._lookup_model_info("gpt-4o-mini")["input_cost_per_token"] > 0
    assert not providers._load_bundled_provider("nobody")
    assert providers._lookup_model_info("no-such-model") is None


def test_spans_tell_their_tokens(store: MlflowClient) -> None:
    """Every span ends by `LiveSpan.end`, and its attributes of tokens, cost and model can be read after that."""
    with mlflow.start_span("asked") as span:
        assert isinstance(span, LiveSpan)
        span.set_attributes({SpanAttributeKey.CHAT_USAGE: {"input_tokens": 1}, SpanAttributeKey.MODEL: "some"})
    assert span.end_time_ns
    assert (SpanAttributeKey.CHAT_USAGE, SpanAttributeKey.LLM_COST) == (spans._USAGE, spans._COST)
    assert (SpanAttributeKey.MODEL, SpanAttributeKey.MODEL_PROVIDER) == (spans._MODEL, spans._PROVIDER)
    assert span.get_attribute(spans._USAGE) == {"input_tokens": 1}
    assert set(spans._KEYS) < set(TokenUsageKey.all_keys())
