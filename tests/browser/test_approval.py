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

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def asking(chromium: str, project: Project, tmp_path: Path) -> Iterator[str]:
    """``flows/promote.py`` as it is served, suspended because it asks; Prefect's address."""
    prefect = json.loads(project.flowml("status", "--json").stdout)["servers"]["prefect"]["url"]
    told, log = {**project.environment, "PREFECT_API_URL": f"{prefect}/api"}, tmp_path / "serve.log"
    words = ["-m", "flowml", "serve", str(ROOT / "flows" / "promote.py")]
    with child(*words, log=log, environment=told, folder=project.folder):
        until(lambda: project.flowml("trigger", "promotion/every-week").returncode == 0, "the flow is served", 120)
        yield prefect


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


def answer(page: Page, why: str, picture: Path) -> None:
    """Press Resume, approve with a reason and a name, and submit."""
    page.get_by_role("button", name="Resume", exact=True).click()
    form = page.locator(".p-modal__card")
    form.get_by_role("switch").click()
    for place, text in enumerate((why, "Ada")):
        form.locator("textarea").nth(place).fill(text)
    photograph(page, picture)
    form.get_by_role("button", name="Submit").click()


def test_a_version_is_approved_in_prefects_ui(
    project: Project, asking: str, browser: BrowserContext, pictures: Path
) -> None:
    """A blank reason is asked for again, and that is said; with one the version is champion, its chain complete."""
    prefect = asking
    until(lambda: is_asked(prefect, 0), "it asks", 400, every=1)
    page = browser.new_page()
    page.goto(f"{prefect}/runs/flow-run/{flow_run(prefect)['id']}")
    answer(page, "  ", pictures / "approval-refused.png")
    until(lambda: is_asked(prefect, 1), "it asks again", 400, every=1)
    page.reload()
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(page.get_by_text("The last answer was not accepted")).to_be_visible()
    page.get_by_role("button", name="Close", exact=True).click()
    answer(page, "Checked the branch offices.", pictures / "approval.png")
    until(lambda: flow_run(prefect)["state"]["name"] == "Completed", "it goes on", 400, every=1)
    audit = project.flowml("audit", "churn@champion", "--verify", "--json")
    told = json.loads(audit.stdout)
    assert (audit.returncode, told["complete"], told["wrong"]) == (0, True, []), audit.stdout
    (approval,) = (link for link in told["links"] if link["name"] == "approval")
    assert [each["who"] for each in approval["facts"]["approvals"]] == ["Ada"]
