"""The loop closes: drifted questions are noticed, a training starts, a person approves, and the server follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from mlflow import MlflowClient
from playwright.sync_api import BrowserContext, expect
from tests.browser.conftest import photograph
from tests.ends.processes import child, until
from tests.flows.test_genai import FLOWS, ask
from tests.runs import run_of
from tests.stack.conftest import Project

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200)]


def states(prefect: str, flow: str) -> list[tuple[str, str]]:
    """Return name and state of each run of a flow, the oldest first."""
    wanted = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_ASC"}
    found: list[dict[str, Any]] = requests.post(f"{prefect}/api/flow_runs/filter", json=wanted, timeout=30).json()
    return [(run["name"], run["state"]["name"]) for run in found if run["state"]["type"] != "SCHEDULED"]


def test_drifted_questions_are_noticed_and_learnt(
    project: Project, browser: BrowserContext, pictures: Path, tmp_path: Path
) -> None:
    """500 questions of another kind: one look finds them, one person approves, both UIs show it, the server follows."""
    servers = json.loads(project.flowml("status", "--json").stdout)["servers"]
    prefect, mlflow = servers["prefect"]["url"], servers["mlflow"]["url"]
    told = {**project.environment, "PREFECT_API_URL": f"{prefect}/api"}
    words = ["-m", "flowml", "serve", str(FLOWS / "genai.py"), str(FLOWS / "monitor.py")]
    with child(*words, log=tmp_path / "serve.log", environment=told, folder=project.folder):
        until(lambda: project.flowml("trigger", "genai/every-night").returncode == 0, "both are served", 120)
        until(lambda: [state for _, state in states(prefect, "genai")] == ["Completed"], "a champion", 300, every=1)
        url = json.loads(project.flowml("status", "--json").stdout)["serving"]["tickets@champion"]["url"]
        before = ask(url, 500, "outage", 1)
        until(lambda: len(kept(project)) >= 400, "the requests are kept", 60)
        assert project.flowml("trigger", "monitor/often").returncode == 0
        until(lambda: [state for _, state in states(prefect, "monitor")] == ["Completed"], "a look", 200, every=1)
        until(lambda: [state for _, state in states(prefect, "genai")][1:] == ["Suspended"], "it asks", 300, every=1)
        (_, (name, _)) = states(prefect, "genai")
        approved = project.flowml("approve", name, "--why", "It knows the outage.", "--who", "Ada")
        assert approved.returncode == 0, approved.stderr
        until(lambda: version(url) == "2", "the server follows", 300, every=1)
        after = ask(url, 100, "outage", 2)
    assert before < 0.8
    assert after > 0.95
    client = MlflowClient(mlflow)
    run = run_of(client, "compare")
    page = browser.new_page()
    page.goto(f"{mlflow}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/chart.png")
    expect(page.get_by_text("chart.png").first).to_be_visible()
    photograph(page, pictures / "drift.png")
    page.goto(f"{prefect}/runs")
    expect(page.get_by_text(name).first).to_be_visible()
    photograph(page, pictures / "loop-in-prefect.png")


def kept(project: Project) -> list[Path]:
    """Return what the server has kept of requests, as rows."""
    import pandas as pd

    files = project.folder.glob(".flowml/serving/*/requests/[0-9]*.parquet")
    return [row for file in files for row in pd.read_parquet(file)["id"]]


def version(url: str) -> str:
    """Return the version that answers."""
    asked = {"dataframe_records": [{"text": "error 401 after the update"}]}
    return httpx.post(f"{url}/invocations", json=asked, trust_env=False).headers["x-model-version"]
