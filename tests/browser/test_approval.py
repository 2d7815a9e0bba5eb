"""A person approves a version in Prefect's UI: an answer that does not fit is asked for again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import BrowserContext, Page, expect
from tests.browser.conftest import photograph
from tests.ends.processes import child, until
from tests.stack.conftest import ROOT, Project

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

MAKE_VERSION = """
from flowml.store.backend.connection import connect

client = connect().client
client.create_registered_model("churn")
client.create_model_version("churn", "s3://nowhere/1")
"""


@pytest.fixture
def asking(chromium: str, tmp_path: Path) -> Iterator[str]:
    """Both servers, and a flow that is suspended because it asks; Prefect's address."""
    project = Project(tmp_path / "project")
    project.environment["PYTHONPATH"] += f":{ROOT}"
    try:
        assert project.flowml("up", "--detach").returncode == 0
        prefect = json.loads(project.flowml("status", "--json").stdout)["servers"]["prefect"]["url"]
        assert project.python("-c", MAKE_VERSION).returncode == 0
        told, log = {**project.environment, "PREFECT_API_URL": f"{prefect}/api"}, tmp_path / "serve.log"
        with child("-m", "tests.registry.served", log=log, environment=told, folder=project.folder):
            words = ["releases/asks", "--param", "version=1", "--param", f"folder={project.folder}"]
            words += ["--param", "form=Ticketed"]
            until(lambda: project.flowml("trigger", *words).returncode == 0, "the flow is served")
            yield prefect
        assert project.flowml("down").returncode == 0
    finally:
        project.end()


def flow_run(prefect: str) -> dict[str, Any]:
    """Return the one flow run, once there is one."""
    return dict(
        until(lambda: requests.post(f"{prefect}/api/flow_runs/filter", json={}, timeout=30).json(), "it runs")[0]
    )


def is_asked(prefect: str, number: int) -> bool:
    """Tell whether the flow waits for an answer, after so many that did not fit."""
    state = flow_run(prefect)["state"]
    key = str(state["state_details"].get("pause_key"))
    return state["name"] == "Suspended" and key.endswith(f"-{number}")


def answer(page: Page, ticket: str, picture: Path) -> None:
    """Press Resume, approve with a reason, a name and a ticket, and submit."""
    page.get_by_role("button", name="Resume", exact=True).click()
    form = page.locator(".p-modal__card")
    form.get_by_role("switch").click()
    form.get_by_role("button", name="str", exact=True).click()
    for place, text in enumerate(("Checked the branch offices.", "Ada", ticket)):
        form.locator("textarea").nth(place).fill(text)
    photograph(page, picture)
    form.get_by_role("button", name="Submit").click()


def test_a_version_is_approved_in_prefects_ui(asking: str, browser: BrowserContext, pictures: Path) -> None:
    """A ticket that the form does not know is asked for again, and that is said; with a known one the flow goes on."""
    prefect = asking
    until(lambda: is_asked(prefect, 0), "it asks", 200, every=1)
    page = browser.new_page()
    page.goto(f"{prefect}/runs/flow-run/{flow_run(prefect)['id']}")
    answer(page, "nonsense", pictures / "approval-refused.png")
    until(lambda: is_asked(prefect, 1), "it asks again", 200, every=1)
    page.reload()
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(page.get_by_text("The last answer was not accepted")).to_be_visible()
    page.get_by_role("button", name="Close", exact=True).click()
    answer(page, "REL-1", pictures / "approval.png")
    until(lambda: flow_run(prefect)["state"]["name"] == "Completed", "it goes on", 200, every=1)
