"""Make the pictures of the pages anew: two flows on the servers of `flowml up`, seen in the system's Chromium.

python tools/pictures.py [folder]; by default docs/images. On Debian: apt-get install --no-install-recommends chromium
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120_000  # milliseconds, on a busy machine
SETTLED = 5_000
OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run"),  # Chromium has no sandbox for root
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


# A flow that fails as flows do: a file is not there yet.
FAILING = """
from contextlib import suppress
from pathlib import Path

import pandas as pd
from flowml import flow, task


@task(retries=1)
def read(day: str) -> pd.DataFrame:
    return pd.read_csv(f"sales/{day}.csv")


@task
def summarize(sales: pd.DataFrame) -> dict[str, float]:
    return {"revenue": float(sales["price"].sum()), "mean_price": float(sales["price"].mean())}


@flow
def weekly_sales(days: list[str]) -> dict[str, float]:
    days = summarize.map(read.map(days)).result()
    return {"revenue": sum(day["revenue"] for day in days)}


Path("sales").mkdir()
days = [f"2026-11-{number}" for number in range(16, 21)]
for number, day in enumerate(days[:-1]):
    pd.DataFrame({"price": range(10 + number, 40 + number)}).to_csv(f"sales/{day}.csv", index=False)
with suppress(Exception):
    weekly_sales(days)
"""


@dataclass(frozen=True)
class Run:
    """Where the runs are to be seen.

    Attributes:
        prefect: The page of the run of flows/train.py in Prefect.
        mlflow: Its page in MLflow.
        failed: The page in MLflow of the run that failed.
        flow_runs: The table of flow runs.
    """

    prefect: str
    mlflow: str
    failed: str
    flow_runs: str

    @property
    def experiment(self) -> str:
        """The experiment, in no particular view."""
        return re.sub(r"/runs/.*", "", self.mlflow)

    @property
    def version(self) -> str:
        """The page of the registered version."""
        return re.sub(r"#/.*\?", "#/models/classifier/versions/1?", self.mlflow)


def run_in_prefect(page: Page, run: Run) -> None:
    """Show the flow run with its tasks in time, and its artifacts below."""
    page.goto(run.prefect)
    page.get_by_role("banner").get_by_text("Completed").wait_for()
    page.get_by_role("listitem").filter(has_text=re.compile("^Artifacts$")).click()
    page.get_by_role("tabpanel", name="Artifacts").get_by_role("link").filter(has_text="mlflow-summary").wait_for()


def run_in_mlflow(page: Page, run: Run) -> None:
    """Show the flow's run with its whole description."""
    page.goto(run.mlflow)
    page.get_by_text("Show more").first.click()
    page.get_by_text("Show less").first.wait_for()
    close_assistant(page)


def flow_runs_in_mlflow(page: Page, run: Run) -> None:
    """Show the table of flow runs."""
    page.goto(run.flow_runs)
    page.get_by_role("columnheader", name="accuracy", exact=True).first.wait_for()
    close_assistant(page)


def failed_run_in_mlflow(page: Page, run: Run) -> None:
    """Show the flow's run that failed: what failed stands above what MLflow folds away."""
    page.goto(run.failed)
    page.get_by_text("Show more").first.wait_for()
    close_assistant(page)


def version_in_mlflow(page: Page, run: Run) -> None:
    """Show the registered version."""
    page.goto(run.version)
    page.get_by_text("Registered At").wait_for()
    close_assistant(page)
    page.get_by_role("button", name="Toggle sidebar").click()  # beside it MLflow prints the model's name over the alias


def experiment_in_mlflow(page: Page, run: Run) -> None:
    """Show the experiment as MLflow opens it where nobody says in which view."""
    page.goto(run.experiment)
    page.get_by_text("No data available").first.wait_for()
    close_assistant(page)


def close_assistant(page: Page) -> None:
    """Close what MLflow shows newcomers, if it does so soon."""
    page.wait_for_timeout(SETTLED)
    shown = page.get_by_role("button", name="Close", exact=True).or_(page.get_by_role("button", name="Got it"))
    if shown.count():
        shown.first.click()


# Each picture, how its page is made ready, and how wide and high it is.
PICTURES: dict[str, tuple[Callable[[Page, Run], None], tuple[int, int]]] = {
    "prefect.png": (run_in_prefect, (1200, 860)),
    "mlflow.png": (run_in_mlflow, (1500, 760)),
    "mlflow-flow-runs.png": (flow_runs_in_mlflow, (1700, 420)),
    "mlflow-failed.png": (failed_run_in_mlflow, (1500, 560)),
    "mlflow-version.png": (version_in_mlflow, (1750, 460)),
    "mlflow-traces.png": (experiment_in_mlflow, (1200, 560)),
}


class Project:
    """A project in a temporary folder, with an empty home and nothing set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        own = ("MLFLOW_", "FLOWML_", "PREFECT_")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        self.environment |= {"HOME": str(folder / "home"), "PYTHONPATH": str(ROOT / "src"), "DO_NOT_TRACK": "true"}
        self.environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        self.environment |= {"LOGNAME": "ada"}  # MLflow shows who made a run
        (folder / "home").mkdir()
        (folder / "pyproject.toml").touch()

    def python(self, *arguments: str) -> str:
        """Run Python in the project; returns what it printed."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    def flowml(self, *arguments: str) -> str:
        """Run the command ``flowml``."""
        return self.python("-m", "flowml.cli.app", *arguments)


def photograph(run: Run, profile: Path, folder: Path) -> None:
    """Open each page in a browser that never was there, and keep what it shows."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("There is no `chromium`. On Debian: apt-get install --no-install-recommends chromium")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=chromium, headless=True, args=OPTIONS, color_scheme="light"
        )
        context.set_default_timeout(PATIENCE)
        for name, (ready, (width, height)) in PICTURES.items():
            page = context.new_page()
            page.set_viewport_size({"width": width, "height": height})
            ready(page, run)
            page.wait_for_timeout(SETTLED)  # Prefect's timeline is drawn step by step, and says nowhere that it is done
            page.screenshot(path=folder / name, animations="disabled")
            print(folder / name)
        context.close()


def main(folder: Path) -> None:
    """Run the flow, and make every picture."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        project = Project(Path(place))
        try:
            project.flowml("up", "--detach")
            for _ in range(2):
                project.python(shutil.copy(ROOT / "flows" / "train.py", place))
            trained, _ = json.loads(project.flowml("runs", "--json"))
            flow_runs = project.flowml("open").strip()
            (Path(place) / "weekly.py").write_text(FAILING)
            project.python("weekly.py")
            (failed,) = json.loads(project.flowml("runs", "--json", "--flow", "weekly-sales"))
            run = Run(trained["prefect_url"], trained["mlflow_url"], failed["mlflow_url"], flow_runs)
            photograph(run, Path(place) / "profile", folder)
        finally:
            project.flowml("down")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if sys.argv[1:] else ROOT / "docs" / "images")
