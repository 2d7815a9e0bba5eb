"""The APIs of the three: Airflow, Prefect, MLflow."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow import __version__ as version

IS_3 = not version.startswith("2.")
OVER = {"success", "failed"}


def until(holds: Callable[[], Any], seconds: float, otherwise: str) -> Any:
    """Wait until something holds, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(2)
    raise AssertionError(otherwise)


def ask(url: str, body: Any = None, *, method: str | None = None, headers: Mapping[str, str] | None = None) -> Any:
    """Ask a JSON API."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


@dataclass
class Servers:
    """The servers of Prefect and MLflow."""

    prefect: str
    mlflow: str
    environment: dict[str, str]

    def flow_run(self, url: str) -> dict[str, Any]:
        """Return the flow run whose page is at an address."""
        return ask(f"{self.prefect}/api/flow_runs/{url.rpartition('/')[2]}")

    def runs(self, tags: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return MLflow's runs with tags, the oldest first."""
        found = ask(f"{self.mlflow}/api/2.0/mlflow/experiments/search", {"max_results": 1000})
        ids = [each["experiment_id"] for each in found["experiments"]]
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        asked = {"experiment_ids": ids, "filter": wanted, "order_by": ["attributes.start_time ASC"]}
        return [run_of(each) for each in ask(f"{self.mlflow}/api/2.0/mlflow/runs/search", asked).get("runs", [])]


def run_of(told: dict[str, Any]) -> dict[str, Any]:
    """Make a run of MLflow easier to look at."""
    data = told["data"]
    return {
        "id": told["info"]["run_id"],
        "name": told["info"]["run_name"],
        "experiment": told["info"]["experiment_id"],
        "status": told["info"]["status"],
        "tags": {each["key"]: each["value"] for each in data.get("tags", [])},
        "params": {each["key"]: each["value"] for each in data.get("params", [])},
        "metrics": {each["key"]: each["value"] for each in data.get("metrics", [])},
    }


class Airflow:
    """A running Airflow."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self.home = home
        self._headers: dict[str, str] = {}

    def api(self, path: str, body: Any = None, *, method: str | None = None) -> Any:
        """Ask Airflow's API."""
        place = "/api/v2" if IS_3 else "/api/v1"
        return ask(f"{self.url}{place}{path}", body, method=method, headers=self._headers)

    def is_up(self) -> bool:
        """Tell whether it answers and knows the DAGs."""
        try:
            if IS_3:
                token = ask(f"{self.url}/auth/token")["access_token"]
                self._headers = {"Authorization": f"Bearer {token}"}
            else:
                password = (self.home / "standalone_admin_password.txt").read_text()
                word = base64.b64encode(f"admin:{password}".encode()).decode()
                self._headers = {"Authorization": f"Basic {word}"}
            return len(self.api("/dags")["dags"]) >= len(list((self.home / "dags").glob("*.py")))
        except (OSError, KeyError):
            return False

    def trigger(self, dag: str) -> str:
        """Start a DAG run, and return its id."""
        until(lambda: self._has(dag), 120, f"Airflow does not know {dag}")
        body: dict[str, Any] = {"logical_date": None} if IS_3 else {}
        run: str = self.api(f"/dags/{dag}/dagRuns", body)["dag_run_id"]
        return run

    def _has(self, dag: str) -> bool:
        try:
            return bool(self.api(f"/dags/{dag}"))
        except urllib.error.HTTPError:
            return False

    def wait(self, dag: str, run: str, seconds: float = 900) -> str:
        """Wait for the end of a DAG run, and return its state."""

        def state() -> str | None:
            now = self.api(f"/dags/{dag}/dagRuns/{run}")["state"]
            return now if now in OVER else None

        return str(until(state, seconds, f"{dag} {run} did not end"))

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        """Return the task instances of a DAG run."""
        return list(self.api(f"/dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"])

    def links(self, dag: str, run: str, task: str, index: int = -1) -> dict[str, str | None]:
        """Return the extra links of a task by their names."""
        mapped = f"?map_index={index}" if IS_3 and index >= 0 else ""
        found = self.api(f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/links{mapped}")
        return dict(found["extra_links"] if IS_3 else found)

    def xcom(self, dag: str, run: str, task: str, key: str, index: int = -1) -> Any:
        """Return an XCom."""
        mapped = f"?map_index={index}" if index >= 0 else ""
        return self.api(f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/{key}{mapped}")["value"]

    def log(self, dag: str, task: str) -> str:
        """Return all that was logged by a task's runs."""
        folders = self.home / "logs" / f"dag_id={dag}"
        return "\n".join(file.read_text() for file in sorted(folders.glob(f"*/task_id={task}/**/*.log")))

    def stop(self, dag: str, run: str, task: str) -> None:
        """Mark a running task as failed, as somebody does in the UI."""
        place = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}"
        if IS_3:
            self.api(place, {"new_state": "failed"}, method="PATCH")
        else:
            self.api(f"/dags/{dag}/dagRuns/{run}", {"state": "failed"}, method="PATCH")
