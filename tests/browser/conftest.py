"""Both servers as ``flowml up`` starts them, a run of flows/train.py on them, and Debian's Chromium to look at it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright
from tests.stack.conftest import ROOT, Project

TRAIN = Path(__file__).parents[2] / "flows" / "train.py"
PATIENCE = 120_000  # milliseconds, on a busy machine
OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run"),  # Chromium has no sandbox for root
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


FAILING = """
from contextlib import suppress
from flowml import flow, task


@task
def read(day: str) -> float:
    return float(open(f"{day}.csv").read())


@flow
def nightly() -> float:
    return read("monday")


with suppress(FileNotFoundError):
    nightly()
"""


@dataclass(frozen=True)
class Trained:
    """Where the run of flows/train.py is, and that of a flow that failed."""

    prefect: str
    mlflow: str
    flow_run_id: str
    run_url: str
    front_door: str
    failed_url: str

    @property
    def version_url(self) -> str:
        """The page of the version that it registered."""
        return f"{self.mlflow}/#/models/classifier/versions/1?workflowType=machine_learning"


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's Chromium. Where there is none, these tests are skipped; in CI they fail."""
    found = shutil.which("chromium")
    if found is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("there is no `chromium` to open the UIs in; on Debian: apt-get install --no-install-recommends chromium")
    return found


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project with both servers, that may import the example flows."""
    project = Project(tmp_path / "project")
    project.environment["PYTHONPATH"] += f":{ROOT / 'flows'}"
    try:
        assert project.flowml("up", "--detach").returncode == 0
        yield project
        assert project.flowml("down").returncode == 0
    finally:
        project.end()


@pytest.fixture(scope="module")
def trained(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """A project on whose servers flows/train.py ran, as its user runs it."""
    project = Project(tmp_path_factory.mktemp("browser") / "project")
    try:
        started = project.flowml("up", "--detach")
        assert started.returncode == 0, started.stderr
        servers = json.loads(project.flowml("status", "--json").stdout)["servers"]
        ran = project.python(str(TRAIN))
        assert ran.returncode == 0, ran.stderr
        (run,) = json.loads(project.flowml("runs", "--json").stdout)
        front_door = project.flowml("open").stdout.strip()
        assert project.python("-c", FAILING).returncode == 0
        yield Trained(
            servers["prefect"]["url"],
            servers["mlflow"]["url"],
            run["prefect_flow_run_id"],
            run["mlflow_url"],
            front_door,
            project.flowml("open", "nightly").stdout.strip(),
        )
        stopped = project.flowml("down")
        assert stopped.returncode == 0, stopped.stderr
    finally:
        project.end()


@pytest.fixture
def browser(chromium: str, tmp_path: Path) -> Iterator[BrowserContext]:
    """A browser that never was on these pages: with a profile of its own, which is empty."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=chromium,
            headless=True,
            args=OPTIONS,
            viewport={"width": 1600, "height": 1000},
        )
        context.set_default_timeout(PATIENCE)
        yield context
        context.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the screenshots stay: the folder that FLOWML_TEST_SCREENSHOTS names, else one of pytest's."""
    folder = Path(os.environ.get("FLOWML_TEST_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def photograph(page: Page, path: Path) -> None:
    """Keep what a page looks like, and refuse one that shows its source or that its server is not there."""
    page.screenshot(path=path)
    shown = page.locator("body").inner_text()
    for wrong in ("Can't connect to Server API", "| --- |", "](http", "&#"):
        assert wrong not in shown, f"{path.name}: {wrong}"
