"""A flow that hands its tasks to the cluster which its deployment names."""

import os
import time

from prefect.variables import Variable

import flowml
from flowml import Deployment, flow, task

if os.environ.get("RAY_ADDRESS"):
    from prefect_ray import RayTaskRunner

    runner = RayTaskRunner(address=os.environ["RAY_ADDRESS"])
else:
    from prefect_dask import DaskTaskRunner

    runner = DaskTaskRunner(address=os.environ.get("DASK_ADDRESS"))


@task
def meet(me: str, other: str) -> dict[str, int]:
    """Say which machine this is, once the other task is at work on another."""
    flowml.log(home=os.environ["HOME"])
    Variable.set(me, "here", overwrite=True)
    until = time.monotonic() + 60
    while Variable.get(other) is None:
        if time.monotonic() > until:
            raise TimeoutError("the other one never came")
        time.sleep(0.2)
    return {"letters": len(me)}


@flow(task_runner=runner)
def spread(one: str, other: str) -> dict[str, int]:
    """Have two tasks that need a machine each."""
    return {"met": len(meet.map([one, other], [other, one]).result())}


known = {name: os.environ[name] for name in ("DASK_ADDRESS", "RAY_ADDRESS") if name in os.environ}
on_cluster = Deployment(spread, "on-cluster", job_variables={"env": known})
