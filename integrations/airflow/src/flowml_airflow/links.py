"""The buttons of a task that lead to its flow run in Prefect's UI, and to its run in MLflow's."""

from __future__ import annotations

from typing import Any

from flowml_airflow.versions import BaseOperatorLink, XCom

PREFECT_URL = "flowml_prefect_url"
"""The XCom with the flow run's page in Prefect's UI."""

MLFLOW_URL = "flowml_mlflow_url"
"""The XCom with the run's page in MLflow's UI."""


class FlowRunInPrefect(BaseOperatorLink):
    """The button that leads to the flow run."""

    name = "Flow run in Prefect"
    xcom_key = PREFECT_URL  # Airflow 3 reads the button's address there, 2.11 asks `get_link`

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - what Airflow calls it with
        """Return the page's address; nothing as long as it is not known."""
        return XCom.get_value(ti_key=ti_key, key=PREFECT_URL) or ""


class RunInMlflow(BaseOperatorLink):
    """The button that leads to the flow's run in MLflow."""

    name = "Run in MLflow"
    xcom_key = MLFLOW_URL

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - what Airflow calls it with
        """Return the page's address; nothing as long as it is not known."""
        return XCom.get_value(ti_key=ti_key, key=MLFLOW_URL) or ""
