"""The task that looks around in a worker."""

from __future__ import annotations

import prefect
from prefect.settings import PREFECT_API_URL

from flowml.ops.doctor.reach import mlflow_problem, prefect_problem


@prefect.task(name="look", persist_result=False)
def look(uri: str) -> dict[str, str | None]:
    """Tell what is wrong with Prefect and MLflow as seen from here."""
    api = PREFECT_API_URL.value()
    missing = "no Prefect server is known here: a server of its own is started in each worker."
    return {"Prefect": prefect_problem(api) if api else missing, "MLflow": mlflow_problem(uri)}
