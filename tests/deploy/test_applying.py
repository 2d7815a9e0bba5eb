"""What Prefect is told of a deployment, and what deploying again leaves as it is; no server is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse

from flowml import Cron, Deployment, DeploymentError, Interval, flow
from flowml.deploy.api import check_taken
from flowml.deploy.applying import for_pool, keep_what_is
from flowml.deploy.parameters import read, schema_of


@flow
def counting(rows: int = 1) -> int:
    """Be a flow of deployments."""
    return rows


@flow
def open_to_all(rows: int, note: str | None = None, share: float | Literal["all"] = 1, **others: int) -> None:
    """Be a flow that takes parameters of any name."""


def test_a_flow_with_parameters_of_any_name_runs_by_itself() -> None:
    """``**others`` may be left out, here and where Prefect's server checks a run; given, it is a mapping."""
    made = Deployment(open_to_all, "n", schedule=Cron("0 2 * * *"), parameters={"rows": 1}).to_prefect()
    assert made._parameter_openapi_schema.required == ["rows"]
    Deployment(open_to_all, "n", parameters={"others": {"extra": 2}})
    with pytest.raises(DeploymentError, match="'others' of open-to-all cannot be 2"):
        Deployment(open_to_all, "n", parameters={"others": 2})


def test_a_text_stays_one_where_a_text_may_be() -> None:
    """What is typed for ``str | None`` is the text, though it looks like JSON, but for null; a choice takes its own."""
    schema = schema_of(open_to_all)
    typed = ["note=10", "share=0.5", "rows=3"]
    assert read(typed, schema) == {"note": "10", "share": 0.5, "rows": 3}
    assert read(["share=all", "note=null"], schema) == {"share": "all", "note": None}


def test_a_parameter_is_given_once() -> None:
    """Of two values for one parameter neither is taken, as by ``flowml run``."""
    with pytest.raises(DeploymentError, match="The parameter 'rows' is given twice"):
        read(["rows=1", "rows=2"], schema_of(counting))


def test_schedules_in_another_order_are_left_alone() -> None:
    """Prefect's server returns schedules in an order of its own: the same ones are not sent again."""
    made = Deployment(counting, "n", schedule=[Cron("0 2 * * *"), Interval("1h"), Cron("0 3 * * *")]).to_prefect()
    kept = [DeploymentSchedule(schedule=one.schedule, active=True) for one in reversed(made.schedules or [])]
    there = DeploymentResponse(id=uuid4(), name="n", flow_id=uuid4(), schedules=kept)
    keep_what_is(made, there, keep_paused=True)
    assert "schedules" not in made.model_fields_set


def test_the_same_place_in_another_project_is_another_flow(tmp_path: Path) -> None:
    """Two projects with a flow in the same place, on one server, do not take each other's deployment over."""
    made = for_pool(Deployment(counting, "n"), "pool")
    step = "prefect.deployments.steps.set_working_directory"

    def there(folder: str | Path) -> DeploymentResponse:
        return DeploymentResponse(
            id=uuid4(),
            name="n",
            flow_id=uuid4(),
            entrypoint=made.entrypoint,
            work_pool_name="pool",
            pull_steps=[{step: {"directory": str(folder)}}],
        )

    check_taken(there(made.storage.destination), made)
    check_taken(
        there(tmp_path), for_pool(Deployment(counting, "n", source="git+https://host/a.git"), "pool")
    )  # it moves
    with pytest.raises(DeploymentError, match=f"another flow, {tmp_path}/"):
        check_taken(there(tmp_path), made)


@pytest.mark.parametrize(
    "source, told",
    [
        ("git+https://host/team/churn.git", ("https://host/team/churn.git", None, None)),
        ("git+https://host/team/churn.git@feature/x", ("https://host/team/churn.git", "feature/x", None)),
        ("git+ssh://git@host/team/churn.git@v1.2", ("ssh://git@host/team/churn.git", "v1.2", None)),
        (f"git+https://host/churn@{'0a' * 20}", ("https://host/churn", None, "0a" * 20)),
    ],
)
def test_workers_get_the_code_from_git(source: str, told: tuple[str | None, ...]) -> None:
    """A source is written as pip's, and becomes a step that clones it; the entrypoint is from the repository's root."""
    made = for_pool(Deployment(counting, "n", source=source), "pool")
    step = made.storage.to_pull_step()["prefect.deployments.steps.git_clone"]
    assert (step["repository"], step["branch"], step.get("commit_sha")) == told
    assert made.entrypoint == "tests/deploy/test_applying.py:counting"


@pytest.mark.parametrize(
    "source, said",
    [
        ("https://host/team/churn.git", "a git repository is written git\\+https://host/team/project.git@branch"),
        ("git+https://host", "is written"),
        ("git+git@host:team/churn.git", "is written"),
        ("git+https://ada:hunter2@host/churn.git", r"'git\+https://\*{8}@host/churn.git' holds a password"),
        ("git+https://ghp_0123456789@host/churn.git", "holds a password or token"),
    ],
)
def test_a_source_that_cannot_be_is_refused(source: str, said: str) -> None:
    """What is no repository, or holds a password that Prefect would show, is refused."""
    with pytest.raises(DeploymentError, match=said):
        for_pool(Deployment(counting, "n", source=source), "pool")
