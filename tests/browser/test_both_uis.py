"""What a user sees of a run of flows/train.py in both UIs, and that each leads to the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect
from tests.browser.conftest import Trained, photograph

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]  # two servers and a browser, on a busy machine

TASKS = ("validate", "split", *["fit"] * 6, *["evaluate"] * 6, "register")


def followed(link: Locator) -> Page:
    """Click a link that opens a new tab, and go there."""
    with link.page.context.expect_page() as opened:
        link.click()
    return opened.value


def run_in_prefect(page: Page, trained: Trained) -> None:
    """Be on the flow run's page in Prefect."""
    expect(page).to_have_url(re.compile(f"^{trained.prefect}/runs/flow-run/{trained.flow_run_id}"))
    expect(page.get_by_role("banner").get_by_text("Completed")).to_be_visible()


def artifacts(page: Page) -> Locator:
    """Open the tab of a flow run's artifacts."""
    page.get_by_role("listitem").filter(has_text=re.compile("^Artifacts$")).click()
    return page.get_by_role("tabpanel", name="Artifacts").get_by_role("link")


def run_in_mlflow(page: Page, trained: Trained, name: str) -> None:
    """Be on a run's page in MLflow, in its view for model training."""
    expect(page).to_have_url(
        re.compile(rf"^{trained.mlflow}/#/experiments/\d+/runs/\w+\?workflowType=machine_learning")
    )
    expect(page.get_by_role("heading", name=re.compile(rf"^{name}$"))).to_be_visible()
    expect(page.get_by_role("link", name="Models", exact=True)).to_be_visible()  # which the view for GenAI has not


def note(page: Page) -> Locator:
    """Fold the note's table out."""
    table = page.get_by_role("table").filter(has=page.get_by_role("columnheader", name="Prefect", exact=True))
    page.get_by_text("Show more").first.click()
    expect(page.get_by_text("Show less").first).to_be_visible()
    return table


def test_from_prefect_to_mlflow(trained: Trained, browser: BrowserContext, pictures: Path) -> None:
    """The flow run has a summary with tables, and a link that opens its run in MLflow, with all it holds."""
    page = browser.pages[0]
    page.goto(f"{trained.prefect}/runs/flow-run/{trained.flow_run_id}")
    run_in_prefect(page, trained)
    address = page.get_by_role("link").filter(has_text=re.compile(f"^{trained.mlflow}/#/experiments/"))
    one_click = followed(address)  # from the log, which the page opens with
    run_in_mlflow(one_click, trained, r"\w+-\w+")
    one_click.close()
    links = artifacts(page)
    expect(links).to_have_count(2)
    photograph(page, pictures / "prefect-artifacts.png")

    links.filter(has_text="mlflow-summary").click()
    summary = page.get_by_role("article").filter(has_text="All was sent to MLflow.")
    expect(summary.get_by_role("table")).to_have_count(3)
    for row in (r"^roc_auc 0\.99", r"^winner LogisticRegression\(", r"^classifier 1 champion$"):
        expect(summary.get_by_role("row", name=re.compile(row))).to_be_visible()
    photograph(page, pictures / "prefect-summary.png")

    page.goto(f"{trained.prefect}/runs/flow-run/{trained.flow_run_id}")
    artifacts(page).filter(has_text="mlflow-run").click()
    page = followed(page.get_by_role("link", name="Open in MLflow"))
    run_in_mlflow(page, trained, r"\w+-\w+")
    page.get_by_role("button", name="Close", exact=True).click()  # the assistant that MLflow shows newcomers
    shown = note(page).get_by_role("row")
    expect(shown).to_have_count(1 + len(TASKS))
    expect(shown).to_contain_text(["Task", *TASKS])
    for cell in ("roc_auc", "evaluate.LogisticRegression max_iter 2000.roc_auc", "winner"):
        expect(page.get_by_role("cell", name=cell, exact=True)).to_be_attached()
    expect(page.get_by_text("Child runs").locator("xpath=ancestor::*[2]").get_by_role("link").first).to_be_attached()
    photograph(page, pictures / "mlflow-run.png")


def test_the_front_door(trained: Trained, browser: BrowserContext, pictures: Path) -> None:
    """What ``flowml up`` and ``flowml open`` name shows the flow runs with their data; the models have their scores."""
    page = browser.pages[0]
    page.goto(trained.front_door)
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    expect(page.get_by_role("link", name="Models", exact=True)).to_be_visible()  # which the view for GenAI has not
    run = page.get_by_role("row").filter(has=page.get_by_role("link", name=re.compile(r"^\w+-\w+$")))
    expect(run).to_have_count(1)
    expect(page.get_by_text(re.compile(r"^table \(")).first).to_be_visible()
    for column in ("accuracy", "roc_auc", "target"):  # the flow's own metrics, and its parameters
        expect(page.get_by_role("columnheader", name=column, exact=True).first).to_be_visible()
    expect(page.get_by_role("button", name="Flow runs")).to_be_visible()  # the view's name
    photograph(page, pictures / "mlflow-flow-runs.png")
    page.goto(f"{trained.front_door}&compareRunsMode=CHART")
    expect(page.get_by_role("heading", level=4)).to_have_text(["accuracy", "log_loss", "roc_auc"])  # none of the tasks'
    photograph(page, pictures / "mlflow-charts.png")

    page.set_viewport_size({"width": 2400, "height": 900})  # the columns that do not fit are not there
    page.get_by_role("link", name="Models", exact=True).click()
    for column in ("accuracy", "roc_auc"):
        expect(page.get_by_role("columnheader", name=column)).to_be_visible()
    expect(page.get_by_role("link", name="LogisticRegression(C=1e-1, max_iter=2000)").first).to_be_visible()
    photograph(page, pictures / "mlflow-models.png")


def test_a_version_and_a_failure(trained: Trained, browser: BrowserContext, pictures: Path) -> None:
    """A registered version says where it comes from and how good it is; a failed flow's note begins with its error."""
    page = browser.pages[0]
    page.goto(trained.version_url)
    expect(page.get_by_text("by the task register of the flow training")).to_be_visible()
    for shown in ("roc_auc", "champion"):
        expect(page.get_by_text(shown).first).to_be_visible()
    photograph(page, pictures / "mlflow-version.png")

    page.goto(trained.failed_url)
    error = page.get_by_text(re.compile(r"failed: FileNotFoundError: .*monday\.csv")).first
    expect(error).to_be_visible()
    expect(page.get_by_text("Show more").first).to_be_visible()  # the error is above what is folded away
    photograph(page, pictures / "mlflow-failed.png")


def test_from_mlflow_to_prefect(trained: Trained, browser: BrowserContext, pictures: Path) -> None:
    """The note leads to the tasks' runs with figures and model, to the graph, and to the same flow run in Prefect."""
    run = browser.pages[0]
    run.goto(trained.run_url)
    table = note(run)
    page = followed(table.get_by_role("link", name=re.compile("^register-")))
    run_in_mlflow(page, trained, r"register-\w+")
    expect(page.get_by_role("heading", name="Logged models (1)")).to_be_attached()
    expect(page.get_by_role("main").get_by_role("link", name=re.compile("^LogisticRegression")).first).to_be_attached()
    photograph(page, pictures / "mlflow-task.png")

    page.get_by_role("tab", name="Artifacts").or_(page.get_by_text("Artifacts", exact=True)).first.click()
    for figure in ("confusion_matrix.png", "roc_curve.png"):
        page.get_by_role("listitem").filter(has_text=figure).click()
        expect(page.get_by_role("img", name=figure)).to_be_visible()
    photograph(page, pictures / "mlflow-figure.png")

    page = followed(run.get_by_role("link", name="Graph", exact=True))
    expect(page.get_by_text("Path:")).to_contain_text("flow/graph.svg")
    expect(page.get_by_role("img", name="flow/graph.svg")).to_be_visible()
    photograph(page, pictures / "mlflow-graph.png")

    page = followed(run.get_by_role("link", name="Flow run in Prefect"))
    run_in_prefect(page, trained)
    photograph(page, pictures / "prefect-run.png")
