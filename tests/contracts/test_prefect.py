"""What flowml relies on in Prefect beyond what is documented, on each Prefect that it admits."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from contextvars import ContextVar
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import prefect
import pytest
import wrapt
from prefect.blocks.system import Secret
from prefect.client.schemas import schedules
from prefect.client.schemas.objects import TaskRun, TaskRunResult
from prefect.context import TagsContext, _deployment_id
from prefect.deployments.runner import RunnerDeployment
from prefect.server.api.server import SubprocessASGIServer
from prefect.server.schemas import schedules as of_the_server
from prefect.utilities.asyncutils import run_coro_as_sync
from prefect.utilities.callables import parameter_schema
from prefect.utilities.importtools import load_script_as_module
from prefect.utilities.schema_tools.validation import validate

import flowml
from flowml.capture.engine import foreign, leaving, loading, states

pytestmark = pytest.mark.compat

WRAPPED = [
    pytest.param(module, name, wrapper, id=name)
    for table in (states._WRAPPERS, leaving._WRAPPERS, loading._WRAPPERS, foreign._WRAPPERS)
    for module, methods in table.items()
    for name, wrapper in methods.items()
]


@prefect.flow
def trains(rows: int, share: float = 0.5, **more: str) -> int:
    """Be deployed."""
    return rows


@pytest.mark.parametrize("module, name, wrapper", WRAPPED)
def test_a_method_that_is_wrapped(module: str, name: str, wrapper: Any) -> None:
    """It is there, sync or async as its wrapper is, and wrapped: one that is missing would be left out silently."""
    assert flowml.flow  # the decorators bring the wrappers
    found = functools.reduce(getattr, name.split("."), importlib.import_module(module))
    assert isinstance(found, wrapt.BoundFunctionWrapper | wrapt.FunctionWrapper)
    assert inspect.iscoroutinefunction(inspect.unwrap(found)) == inspect.iscoroutinefunction(wrapper)


@pytest.mark.parametrize(
    "module, engine, run, called",
    [
        ("prefect.task_engine", "SyncTaskRunEngine", "task_run", "task"),
        ("prefect.task_engine", "AsyncTaskRunEngine", "task_run", "task"),
        ("prefect.flow_engine", "FlowRunEngine", "flow_run", "flow"),
        ("prefect.flow_engine", "AsyncFlowRunEngine", "flow_run", "flow"),
    ],
)
def test_what_an_engine_holds(module: str, engine: str, run: str, called: str) -> None:
    """It holds its run and what is called under the names by which its state is heard, and can be told apart."""
    kind = getattr(importlib.import_module(module), engine)
    assert {run, called} <= kind.__dataclass_fields__.keys()
    assert ("flow" in kind.__dataclass_fields__) == (called == "flow")
    assert list(inspect.signature(kind.set_state).parameters)[:3] == ["self", "state", "force"]


@pytest.mark.parametrize("engine, enters", [("FlowRunEngine", "__enter__"), ("AsyncFlowRunEngine", "__aenter__")])
def test_the_end_of_a_flows_engine(engine: str, enters: str) -> None:
    """What `start` gives is entered, and left when the engine is done."""
    kind = getattr(importlib.import_module("prefect.flow_engine"), engine)
    assert hasattr(kind.start.__wrapped__(kind(flow=trains)), enters)


def test_the_way_outwards() -> None:
    """A context leads by its `_token` to the one that it was entered in."""
    with TagsContext(current_tags={"outer"}) as outer, TagsContext(current_tags={"inner"}) as inner:
        assert inner._token is not None
        assert inner._token.old_value is outer


def test_the_deployment_that_a_subflow_inherits() -> None:
    """`_deployment_id` holds it, and nothing outside of runs."""
    assert isinstance(_deployment_id, ContextVar)
    assert _deployment_id.get() is None


def test_the_process_of_a_temporary_server() -> None:
    """`_run_uvicorn_command` only starts it: it gives the process, which a server that is stopped ends."""
    assert list(inspect.signature(SubprocessASGIServer._run_uvicorn_command).parameters) == ["self"]
    made = SubprocessASGIServer(port=1)
    assert made.server_process is None
    made.stop()


def test_a_blocks_name() -> None:
    """A block has `_block_document_name`, which is None until it is kept."""
    assert Secret(value="x")._block_document_name is None


def test_the_form_of_a_deployments_parameters() -> None:
    """A deployment keeps it in `_parameter_openapi_schema`, where another can be put; without it Prefect makes one."""
    made = RunnerDeployment.from_flow(trains, name="nightly")
    assert made._parameter_openapi_schema == parameter_schema(trains)
    assert {"title", "position", "type"} <= made._parameter_openapi_schema.properties["rows"].keys()
    made._parameter_openapi_schema = other = parameter_schema(trains)
    assert made._parameter_openapi_schema is other


def test_what_is_wrong_with_parameters() -> None:
    """The validation says where, what and why; what is missing it can leave out."""
    (problem,) = validate({"rows": "many"}, parameter_schema(trains).model_dump(), ignore_required=True)
    assert (problem.json_path, problem.instance) == ("$.rows", "many")
    assert problem.message
    assert validate({}, parameter_schema(trains).model_dump(), ignore_required=True) == []


def test_flows_bound_to_infrastructure() -> None:
    """They are of a class of their own, which is pickled by flowml where there are tracked ones."""
    assert issubclass(prefect.flows.InfrastructureBoundFlow, prefect.Flow)
    assert dict(prefect.flows.InfrastructureBoundFlow.__dict__).get("__reduce__") is None


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.CronSchedule(cron="0 2 * * *"),
        schedules.IntervalSchedule(interval=timedelta(hours=24)),
        schedules.RRuleSchedule(rrule="FREQ=DAILY"),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_the_times_of_a_schedule(schedule: Any) -> None:
    """The server's class of the same name takes the same fields, and plans its times."""
    assert schedules.is_schedule_type(schedule)
    planner = getattr(of_the_server, type(schedule).__name__)(**schedule.model_dump())
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    times = run_coro_as_sync(planner.get_dates(n=5, start=start, end=start + timedelta(days=2, hours=1)))
    assert len(times) in {2, 3}


def test_a_task_runs_inputs() -> None:
    """The task that it was called in stands among its inputs as `__parents__`; a list for each argument."""
    its_id = uuid4()
    inputs = {"__parents__": [{"input_type": "task_run", "id": its_id}]}
    made = TaskRun(task_key="k", dynamic_key="0", task_inputs=inputs)
    assert made.task_inputs["__parents__"] == [TaskRunResult(id=its_id)]


def test_a_script_is_loaded(tmp_path: Path) -> None:
    """A file is loaded as a module that is not `__main__`."""
    script = tmp_path / "script.py"
    script.write_text("name = __name__")
    assert load_script_as_module(str(script)).name != "__main__"


@pytest.mark.parametrize("engine", ["task_engine", "flow_engine"])
def test_engines_call_bodies_by_one_function(engine: str) -> None:
    """Each engine looks `call_with_parameters` up in its own module when it calls a body, with the function first."""
    module = importlib.import_module(f"prefect.{engine}")
    bodies = [
        method
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__ == module.__name__
        for name, method in vars(kind).items()
        if name in {"call_task_fn", "call_flow_fn"}
    ]
    assert len(bodies) >= 2
    for body in bodies:
        source = inspect.getsource(body)
        assert re.search(r"call_with_parameters\(self\.(task|flow)\.fn, ", source)
    assert list(inspect.signature(module.call_with_parameters).parameters)[:2] == ["fn", "parameters"]
