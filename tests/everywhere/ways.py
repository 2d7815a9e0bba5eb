"""The ways to run a task: each function runs a flow in which the probe is called once for every job."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Annotated, Any, TypeAlias

from prefect.context import with_context
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

import flowml
from flowml import Skip, flow, task
from tests.everywhere.locked import guarded_probe
from tests.everywhere.probe import (
    Depth,
    Job,
    probe,
    probe_async,
    probe_async_generator,
    probe_generator,
)
from tests.everywhere.stores import Caller, Tree

ROOT = Path(__file__).parents[2]
Jobs: TypeAlias = Annotated[Sequence[Job], Skip()]

DEPLOYMENT = "served-flow/everywhere"
SERVED = [Job(1, Depth.MODEL), Job(2, Depth.AUTOLOG)]


@flow(validate_parameters=False)
def sub_flow(jobs: Jobs) -> None:
    """Call the probe in a flow of its own."""
    for job in jobs:
        probe(*job)


@flow(validate_parameters=False, name="sub-flow")
async def sub_flow_async(jobs: Jobs) -> None:
    """Call the probe in an async flow of its own."""
    await asyncio.gather(*(probe_async(*job) for job in jobs))


@task
def caller(call: Annotated[Callable[[], Any], Skip()]) -> None:
    """Call something in a task."""
    call()


@flow
def served_flow() -> None:
    """Be started by a deployment, in another process."""
    for job in SERVED:
        probe(*job)


@flow
def outer_flow(call: Annotated[Callable[[], Any], Skip()]) -> None:
    """Call something in a flow."""
    call()


@flow(name="outer-flow")
async def outer_flow_async(call: Annotated[Callable[[], Any], Skip()]) -> None:
    """Await something in an async flow."""
    await call()


def direct(jobs: Jobs) -> None:
    """Call the task."""
    outer_flow(lambda: [probe(*job) for job in jobs])


def return_state(jobs: Jobs) -> None:
    """Call flow and task for their states."""
    state = outer_flow(lambda: [probe(*job, return_state=True) for job in jobs], return_state=True)
    assert state.is_completed()


def submitted(jobs: Jobs, runner: TaskRunner[Any] | None = None) -> None:
    """Submit each."""
    run = outer_flow if runner is None else outer_flow.with_options(task_runner=runner)
    run(lambda: [future.result() for future in [probe.submit(*job) for job in jobs]])


def mapped(jobs: Jobs, runner: TaskRunner[Any] | None = None) -> None:
    """Map them."""
    run = outer_flow.with_options(task_runner=runner or ThreadPoolTaskRunner(max_workers=16))
    run(lambda: probe.map([job.number for job in jobs], [job.depth for job in jobs]).result())


def gathered(jobs: Jobs) -> None:
    """Gather async tasks that give way to each other at each step."""

    async def call() -> None:
        await asyncio.gather(*(probe_async(*job) for job in jobs))

    asyncio.run(outer_flow_async(call))


def async_submitted(jobs: Jobs) -> None:
    """Submit and map async tasks in an async flow."""

    async def call() -> None:
        futures = [probe_async.submit(*job) for job in jobs[::2]]
        futures += probe_async.map([job.number for job in jobs[1::2]], [job.depth for job in jobs[1::2]])
        for future in futures:
            future.result()

    asyncio.run(outer_flow_async(call))


def process_pool(jobs: Jobs) -> None:
    """Submit to processes."""
    submitted(jobs, ProcessPoolTaskRunner(max_workers=2))


def process_pool_with_a_lock(jobs: Jobs) -> None:
    """Submit a task to processes, beside which its module has a lock, which cannot be pickled."""
    run = outer_flow.with_options(task_runner=ProcessPoolTaskRunner(max_workers=1))
    run(lambda: [future.result() for future in [guarded_probe.submit(*job) for job in jobs]])


def dask(jobs: Jobs) -> None:
    """Map over the processes of a Dask cluster."""
    from prefect_dask import DaskTaskRunner

    cluster = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    mapped(jobs, DaskTaskRunner(cluster_kwargs=cluster))


def ray(jobs: Jobs) -> None:
    """Map over the processes of a Ray cluster."""
    from prefect_ray import RayTaskRunner

    # Ray's workers do not start in this folder, and the probe's module is to be found from it.
    found = {"env_vars": {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}}
    mapped(jobs, RayTaskRunner(init_kwargs={"num_cpus": 2, "include_dashboard": False, "runtime_env": found}))


def task_in_task(jobs: Jobs) -> None:
    """Call the task in a task."""
    outer_flow(lambda: caller(lambda: [probe(*job) for job in jobs]))


def submitted_in_task(jobs: Jobs) -> None:
    """Submit it in a task."""
    outer_flow(lambda: caller(lambda: [future.result() for future in [probe.submit(*job) for job in jobs]]))


def subflow(jobs: Jobs) -> None:
    """Call it in a flow in a flow."""
    outer_flow(lambda: sub_flow(jobs))


def subflow_async(jobs: Jobs) -> None:
    """Call it in an async flow in an async flow."""
    asyncio.run(outer_flow_async(lambda: sub_flow_async(jobs)))


def subflows_gathered(jobs: Jobs) -> None:
    """Run two async subflows at once."""

    async def call() -> None:
        await asyncio.gather(sub_flow_async(jobs[::2]), sub_flow_async(jobs[1::2]))

    asyncio.run(outer_flow_async(call))


def subflows_in_threads(jobs: Jobs) -> None:
    """Run two subflows at once, in threads."""

    def call() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(flowml.with_context(sub_flow), [jobs[::2], jobs[1::2]]))

    outer_flow(call)


def generators(jobs: Jobs) -> None:
    """Consume generator tasks in step."""

    def call() -> None:
        waiting = [probe_generator(*job) for job in jobs]
        while waiting:
            waiting = [each for each in waiting if next(each, None) is not None]

    outer_flow(call)


def async_generators(jobs: Jobs) -> None:
    """Consume async generator tasks in step."""

    async def call() -> None:
        waiting = [aiter(probe_async_generator(*job)) for job in jobs]
        while waiting:
            waiting = [each for each in waiting if await anext(each, None) is not None]

    asyncio.run(outer_flow_async(call))


def deployed(jobs: Jobs) -> None:
    """Start a flow by its deployment, in another process."""
    assert jobs == SERVED
    outer_flow(_deployment)


def deployed_in_task(jobs: Jobs) -> None:
    """Start a flow by its deployment from inside a task."""
    assert jobs == SERVED
    outer_flow(lambda: caller(_deployment))


def _deployment() -> None:
    run = run_deployment(DEPLOYMENT, timeout=90, poll_interval=0.5)
    assert run.state.is_completed(), run.state


def delayed(jobs: Jobs) -> None:
    """Leave it to a task worker, in another process."""

    def call() -> None:
        for future in [probe.delay(*job) for job in jobs]:
            future.wait(timeout=90)
            assert future.state.is_completed(), future.state

    outer_flow(call)


def user_pool_fork(jobs: Jobs) -> None:
    """Call it in the user's own processes, forked from a program without the threads of other tests, such as Ray's."""
    assert jobs == ALONE
    known = {
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
    }
    # MLflow has left the store and the experiment in the environment.
    code = "from tests.everywhere.ways import fork_here; fork_here()"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **known}, cwd=ROOT, check=True, timeout=200)


def fork_here() -> None:
    """Call it in processes that are forked from this one."""
    outer_flow(lambda: _in_pool("fork", ALONE))


def user_pool_spawn(jobs: Jobs) -> None:
    """Call it in the user's own processes, spawned."""
    outer_flow(lambda: _in_pool("spawn", jobs))


def _in_pool(method: str, jobs: Jobs) -> None:
    with multiprocessing.get_context(method).Pool(2) as pool:
        pool.map(with_context(call_probe), jobs)


def call_probe(job: Job) -> None:
    """Call the probe."""
    probe(*job)


def user_threads(jobs: Jobs) -> None:
    """Call it in threads that the user starts inside a task."""

    def call() -> None:
        threads = [Thread(target=flowml.with_context(probe), args=job) for job in jobs[::2]]
        for thread in threads:
            thread.start()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(flowml.with_context(call_probe), jobs[1::2]))
        for thread in threads:
            thread.join()

    outer_flow(lambda: caller(call))


def under_the_flow(jobs: Jobs) -> Tree:
    """Expect the probes right under the flow."""
    return Caller("outer-flow", jobs)


def under_a_task(jobs: Jobs) -> Tree:
    """Expect a task between."""
    return Caller("outer-flow", [Caller("caller", jobs)])


def under_a_subflow(jobs: Jobs) -> Tree:
    """Expect a flow between."""
    return Caller("outer-flow", [Caller("sub-flow", jobs)])


def under_two_subflows(jobs: Jobs) -> Tree:
    """Expect one half in either of two flows."""
    return Caller("outer-flow", [Caller("sub-flow", jobs[::2]), Caller("sub-flow", jobs[1::2])])


def under_the_served_flow(jobs: Jobs) -> Tree:
    """Expect the flow of the deployment between."""
    return Caller("outer-flow", [Caller("served-flow", jobs)])


def under_the_served_flow_in_a_task(jobs: Jobs) -> Tree:
    """Expect a task and the flow of the deployment between."""
    return Caller("outer-flow", [Caller("caller", [Caller("served-flow", jobs)])])


def some(count: int, *special: Depth, otherwise: Depth = Depth.PLAIN) -> list[Job]:
    """Make jobs with distinct numbers: the special ones first."""
    depths = [*special, *[otherwise] * (count - len(special))]
    return [Job(number, depth) for number, depth in enumerate(depths, start=1)]


FEW = some(4, Depth.MODEL, Depth.FULL, Depth.FULL)
ALONE = some(3, Depth.AUTOLOG, Depth.MODEL)  # where one task at a time is in a process
MANY = some(200, Depth.MODEL, *[Depth.FULL] * 4, *[Depth.PLAIN] * 15, otherwise=Depth.AUTOMATIC)
FIFTY = some(50, Depth.MODEL, *[Depth.FULL] * 4)


@dataclass(frozen=True)
class Way:
    """One way to run a task.

    Attributes:
        run: Runs the flow.
        jobs: What the probe is called with.
        tree: What is then expected.
        slow: Whether it is for `make test-all` only; with a server each is.
        needs: The fixtures that it takes.
    """

    run: Callable[[Jobs], None]
    jobs: Sequence[Job]
    tree: Callable[[Jobs], Tree] = under_the_flow
    slow: bool = False
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called in the tests' ids."""
        return self.run.__name__


WAYS = [
    Way(direct, ALONE),
    Way(return_state, ALONE, slow=True),
    Way(submitted, FEW, slow=True),
    Way(mapped, MANY, slow=True),
    Way(gathered, FIFTY),
    Way(async_submitted, FEW, slow=True),
    Way(process_pool, ALONE, slow=True),
    Way(process_pool_with_a_lock, some(1, Depth.FULL), slow=True),
    Way(dask, ALONE, slow=True),
    Way(ray, ALONE, slow=True),
    Way(task_in_task, ALONE, under_a_task, slow=True),
    Way(submitted_in_task, FEW, under_a_task, slow=True),
    Way(subflow, ALONE, under_a_subflow, slow=True),
    Way(subflow_async, FEW, under_a_subflow, slow=True),
    Way(subflows_gathered, FEW, under_two_subflows, slow=True),
    Way(subflows_in_threads, FEW, under_two_subflows, slow=True),
    Way(generators, FEW, slow=True),
    Way(async_generators, FEW, slow=True),
    Way(deployed, SERVED, under_the_served_flow, slow=True, needs=("deployment",)),
    Way(deployed_in_task, SERVED, under_the_served_flow_in_a_task, slow=True, needs=("deployment",)),
    Way(delayed, some(2, Depth.MODEL, Depth.FULL), slow=True, needs=("task_worker",)),
    Way(user_pool_fork, ALONE, slow=True),
    Way(user_pool_spawn, ALONE, slow=True),
    Way(user_threads, FEW, under_a_task, slow=True),
]
