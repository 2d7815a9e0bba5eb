"""The way from each of the two UIs to the other's page of the same run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import mlflow
import pytest
from mlflow import MlflowClient
from prefect import flow as prefect_flow
from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner
from sklearn.linear_model import LinearRegression
from tests.runs import flow_run, run_of, runs_of

from flowml import Model, Track, flow, settings, task

NOTE = "mlflow.note.content"
UI = "https://mlflow.example.com/tracking"


@task
def load(rows: int) -> list[int]:
    """Give something that Prefect knows again."""
    return list(range(rows))


@task
def score(rows: list[int], by: int = 1) -> dict[str, float]:
    """Give a metric."""
    return {"auc": len(rows) * by / 10}


@task
def broken() -> None:
    """Fail."""
    raise ValueError("never | ever")


@pytest.fixture
def linked(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """A project whose MLflow has a page, behind a proxy, and whose Prefect has one too."""
    monkeypatch.setenv("FLOWML_MLFLOW_UI_URL", UI.replace("//", "//ada:love@"))
    monkeypatch.setenv("FLOWML_PREFECT_UI_URL", "https://ada:love@prefect.example.com/ui/")
    settings.reload()
    return client


def artifacts(**filters: Any) -> list[dict[str, Any]]:
    """Read artifacts from Prefect's API, oldest first."""
    with get_client(sync_client=True) as api:
        found = api.request("POST", "/artifacts/filter", json={"artifacts": filters, "limit": 200}).json()
    return sorted(found, key=lambda each: str(each["created"]))


def of_flow(run: Any) -> dict[str, str]:
    """Return the artifacts of a flow run by their keys; each key once."""
    found = artifacts(flow_run_id={"any_": [run.data.tags["prefect.flow_run_id"]]})
    assert len({each["key"] for each in found}) == len(found)
    return {each["key"]: each["data"] for each in found}


def page(run: Any) -> str:
    """Return a run's page in MLflow's model-training view."""
    return f"{UI}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}?workflowType=machine_learning"


def rows_of(text: str) -> list[list[str]]:
    """Return a table's rows without its heading and the space between their columns."""
    return [re.split(r"(?:&emsp;)? ?\| ?", line)[1:-1] for line in text.splitlines() if line.startswith("|")][2:]


def test_the_flows_run_has_a_note_with_its_tasks(linked: MlflowClient) -> None:
    """State, attempts, duration and metrics of each call, linked to both UIs; failures are rows too."""
    attempts: list[int] = []

    @task(retries=1, task_run_name="a|b [x](y)")
    def flaky() -> float:
        attempts.append(1)
        return 1 / (len(attempts) - 1)

    @flow
    def pipeline() -> None:
        score(load(3))
        flaky()
        broken(return_state=True)

    pipeline()
    root = flow_run(linked)
    head, *_ = note = root.data.tags[NOTE].splitlines()
    at = root.data.tags["prefect.flow_run_id"]
    assert head.startswith("**Completed** after ")
    assert f"[Flow run in Prefect](https://prefect.example.com/ui/runs/flow-run/{at})" in head
    scored, flaked = run_of(linked, "score"), runs_of(linked, "flaky")[1]
    rows = rows_of("\n".join(note))
    assert [row[1:4] for row in rows] == [["Failed", "1", ""], *[["Completed", "1", ""]] * 2, ["Completed", "2", ""]]
    assert any(re.fullmatch(r"\* \[broken-\w+\]\(#.*\) failed: ValueError: never &#124; ever", line) for line in note)
    rows = [*rows[1:], rows[0]]
    assert rows[1][0].endswith(f"](#{page(scored).partition('#')[2]})")
    assert rows[1][5] == "auc\N{NO-BREAK SPACE}0.3"
    task_run_id = scored.data.tags["prefect.task_run_id"]
    assert rows[1][6] == f"[open](https://prefect.example.com/ui/runs/task-run/{task_run_id})"
    assert rows[2][0].startswith("[a&#124;b &#91;x&#93;(y)](#")
    assert flaked.info.run_id in rows[2][0]


def test_the_flows_run_has_its_graph(client: MlflowClient) -> None:
    """Which task's results were given to which, for tasks that are called, submitted and mapped, and for subflows."""

    @flow
    def sub(rows: list[int]) -> list[int]:
        return rows[:1]

    @flow
    def pipeline() -> None:
        rows = load.submit(3)
        score.map([rows, rows, rows], by=[1, 2, 3]).result()
        score.with_options(name="again")(sub(rows.result()))

    pipeline()
    folder = Path(client.download_artifacts(run_of(client, "pipeline").info.run_id, "flow"))
    lines = [line.strip() for line in (folder / "graph.md").read_text().splitlines()]
    assert lines[2:6] == ['n0["load"]', 'n1["score \u00d7 3"]', 'n2[["sub"]]', 'n3["again"]']
    assert "n0 --> n1" in lines
    assert "n2 --> n3" in lines
    assert (folder / "graph.svg").read_text().startswith("<svg ")


@pytest.mark.slow
@pytest.mark.parametrize("track", [Track(), Track(children="failed")])
def test_calls_in_other_processes_are_in_the_note(client: MlflowClient, track: Track) -> None:
    """What a process pool did is in the note and the graph, with runs of its own and without."""

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1), track=track)
    def pipeline() -> None:
        score.map([load.submit(2)] * 2, by=[1, 2]).result()

    pipeline()
    root = flow_run(client)
    assert sorted(row[5] for row in rows_of(root.data.tags[NOTE])) == [
        "auc\N{NO-BREAK SPACE}0.2",
        "auc\N{NO-BREAK SPACE}0.4",
        "load\N{NO-BREAK SPACE}1",
    ]
    drawn = Path(client.download_artifacts(root.info.run_id, "flow/graph.md")).read_text()
    assert re.search(r'n\d\["load"\]', drawn)
    assert re.search(r'n\d\["score \u00d7 2"\]', drawn)


def test_the_graph_has_calls_without_runs(client: MlflowClient) -> None:
    """Tasks that are summed up are nodes too, with what was given to them."""

    @flow(track=Track(children="none"))
    def pipeline() -> None:
        score.map([load.submit(2)] * 2, by=[1, 2]).result()

    pipeline()
    drawn = Path(client.download_artifacts(flow_run(client).info.run_id, "flow/graph.md")).read_text()
    first, second = re.findall(r"(n\d)\[", drawn)
    assert f"{first} --> {second}" in drawn or f"{second} --> {first}" in drawn


def test_a_note_of_the_users_own_stays(client: MlflowClient) -> None:
    """The one that flowml writes is then in the tag ``flowml.note``."""

    @flow
    def pipeline() -> None:
        mlflow.set_tag(NOTE, "*Mine.*")

    pipeline()
    tags = flow_run(client).data.tags
    assert tags[NOTE] == "*Mine.*"
    assert tags["flowml.note"].startswith("**Completed**")


def test_a_retried_flow_has_the_note_of_its_last_attempt(client: MlflowClient) -> None:
    """The note that flowml wrote is flowml's to replace; one that failed says why."""
    notes: list[str | None] = []

    @flow(retries=1)
    def pipeline() -> None:
        load(1)
        run = mlflow.active_run()
        assert run
        notes.append(client.get_run(run.info.run_id).data.tags.get(NOTE))
        raise ValueError("attempt | failed")

    pipeline(return_state=True)
    tags = flow_run(client).data.tags
    assert len(notes) == 2
    assert tags[NOTE].startswith("**Failed** after ")
    assert "ValueError: attempt &#124; failed" in tags[NOTE]
    assert len(rows_of(tags[NOTE])) == 2
    assert "flowml.note" not in tags


def test_a_tasks_run_leads_to_its_page(linked: MlflowClient) -> None:
    """Its note is a link; MLflow shows the tag with the address as text."""

    @flow
    def pipeline() -> None:
        load(1)

    pipeline()
    tags = run_of(linked, "load").data.tags
    assert (
        tags[NOTE]
        == f"[Task run in Prefect](https://prefect.example.com/ui/runs/task-run/{tags['prefect.task_run_id']})"
    )


def test_the_note_tells_of_the_deployment(linked: MlflowClient) -> None:
    """Its name, linked to its page, and when it is to run."""

    @flow
    def nightly() -> None:
        load(1)

    with get_client(sync_client=True) as api:
        schedule = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 6 1 1 *", timezone="Europe/Berlin"))
        flow_id = api.create_flow(nightly)
        deployment_id = api.create_deployment(flow_id, "every|year", schedules=[schedule])
        run_flow(nightly, flow_run=api.create_flow_run_from_deployment(deployment_id))
    tags = flow_run(linked).data.tags
    where = f"https://prefect.example.com/ui/deployments/deployment/{deployment_id}"
    assert f"deployment [nightly/every&#124;year]({where})" in tags[NOTE]
    assert "schedule 0 6 1 1 &#42; (Europe/Berlin)" in tags[NOTE]


def test_a_flow_run_in_prefect_shows_its_run(linked: MlflowClient) -> None:
    """A link to the run's page, and what the run holds: metrics, parameters, registered models, all sent."""

    @task
    def fit(rows: list[int]) -> Annotated[LinearRegression, Model(register="line", alias="champion")]:
        return LinearRegression().fit([[row] for row in rows], rows)

    @flow
    def pipeline(depth: int = 3, note: str = "a|b") -> float:
        fit(load(4))
        return 0.5

    pipeline()
    root = flow_run(linked)
    found = of_flow(root)
    assert found["mlflow-run"] == f"[Open in MLflow]({page(root)})"
    summary = found["mlflow-summary"]
    assert f"]({page(root)})** · Completed after " in summary
    assert "All was sent to MLflow." in summary
    assert "| pipeline | 0.5 |" in summary
    assert "| depth | 3 |" in summary
    assert "| note | a&#124;b |" in summary
    assert f"| [line]({UI}/#/models/line/versions/1?workflowType=machine_learning) | 1 | champion |" in summary


def test_the_filter_of_the_page_finds_flow_runs_only(client: MlflowClient) -> None:
    """What docs/reference/two-uis.md says to type into MLflow's search field."""

    @flow
    def training() -> None:
        load(1)

    training()
    page = (Path(__file__).parents[2] / "docs" / "reference" / "two-uis.md").read_text()
    (wanted,) = re.findall(r"```text\n(.*)\n```", page)
    more = re.findall(r"`(and [^`]*)`", page)
    assert len(more) == 2
    root = flow_run(client)
    found = client.search_runs([root.info.experiment_id], " ".join([wanted, *more]))
    assert [run.info.run_id for run in found] == [root.info.run_id]
    assert len(client.search_runs([root.info.experiment_id])) == 2


def test_a_task_run_in_prefect_links_its_run(linked: MlflowClient) -> None:
    """Its artifact is on its own page only, so that the flow run's is not full of them."""

    @flow
    def pipeline() -> None:
        load(1)

    pipeline()
    run = run_of(linked, "load")
    (link,) = artifacts(task_run_id={"any_": [run.data.tags["prefect.task_run_id"]]})
    assert (link["key"], link["data"]) == ("mlflow-task-run", f"[Open in MLflow]({page(run)})")
    assert link["flow_run_id"] is None


@pytest.mark.parametrize("most", [0, 2])
def test_so_many_task_runs_are_linked(linked: MlflowClient, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """The setting ``task_links`` says how many of a flow run's."""
    monkeypatch.setenv("FLOWML_TASK_LINKS", str(most))

    @flow
    def pipeline() -> None:
        load.map([1] * 5).result()

    pipeline()
    ids = [run.data.tags["prefect.task_run_id"] for run in runs_of(linked, "load")]
    assert len(artifacts(task_run_id={"any_": ids})) == most


def test_a_subflow_has_its_own(linked: MlflowClient) -> None:
    """Note, link and summary are of each flow run, also when it was called by another."""

    @flow
    async def sub() -> None:
        score(load(2))

    @flow
    async def pipeline() -> None:
        await sub()

    asyncio.run(pipeline())
    for name in ("sub", "pipeline"):
        run = run_of(linked, name)
        assert of_flow(run).keys() == {"mlflow-run", "mlflow-summary"}
        assert run.data.tags[NOTE].startswith("**Completed**")
    assert "| score.auc | 0.2 |" in of_flow(run_of(linked, "sub"))["mlflow-summary"]
    assert "| sub.score.auc | 0.2 |" in of_flow(run_of(linked, "pipeline"))["mlflow-summary"]


def test_without_a_server_there_is_no_link(client: MlflowClient) -> None:
    """A bare database has no page; the summary says which command shows it."""

    @flow
    def pipeline() -> None:
        load(1)

    pipeline()
    found = of_flow(flow_run(client))
    assert found.keys() == {"mlflow-summary"}
    assert "`flowml up` shows it" in found["mlflow-summary"]


def untracked() -> Callable[[], str]:
    """A flow that flowml is told to leave alone."""

    @flow(track=False)
    def pipeline() -> str:
        load(1)
        return str(runtime.flow_run.id)

    return pipeline


def plain() -> Callable[[], str]:
    """A flow of Prefect's."""

    @prefect_flow
    def pipeline() -> str:
        return str(runtime.flow_run.id)

    return pipeline


@pytest.mark.parametrize("made", [untracked, plain])
def test_what_is_not_tracked_has_none(linked: MlflowClient, made: Callable[[], Callable[[], str]]) -> None:
    """Prefect's page of such a flow run is as Prefect makes it."""
    assert artifacts(flow_run_id={"any_": [made()()]}) == []


def test_no_secret_is_shown(linked: MlflowClient) -> None:
    """Neither in the note nor in an artifact: not of arguments, names, errors or addresses."""
    secret = "ghp_" + "a1B2" * 9

    @task(task_run_name="load {address}")
    def fetch(address: str) -> None:
        raise ValueError(f"cannot open {address}")

    @flow(flow_run_name="of {token}")
    def pipeline(token: str, address: str) -> None:
        fetch(address)

    pipeline(secret, "postgresql://ada:love@db/churn", return_state=True)
    root = flow_run(linked)
    texts = [root.data.tags[NOTE], *of_flow(root).values(), *root.data.tags.values(), str(root.info.run_name)]
    for run in runs_of(linked, "fetch"):
        texts += [*run.data.tags.values(), str(run.info.run_name)]
    assert not [text for text in texts if secret in text or "love" in text]


def test_prefects_refusal_is_one_warning(linked: MlflowClient, caplog: pytest.LogCaptureFixture) -> None:
    """Where Prefect's API takes no artifact, the flow ends as it would, and one line says so."""

    @flow
    def pipeline() -> int:
        with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
            return len(load(2)) + len(load(3))

    assert pipeline() == 5
    said = [record for record in caplog.records if "flowml" in record.getMessage() and record.levelname != "INFO"]
    assert [record.levelname for record in said] == ["WARNING"]
    assert "could not link Prefect's UI to MLflow's" in said[0].getMessage()
    assert of_flow(flow_run(linked)).keys() == {"mlflow-run", "mlflow-summary"}
