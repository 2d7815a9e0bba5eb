"""What can be declared to start a deployment, and what becomes of it in Prefect."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.events.schemas.events import Resource
from tests.ends.processes import ROOT

from flowml import OnDataset, OnEvent, OnFile, OnMetric, OnModelPromoted, flow
from flowml.events import vocabulary
from flowml.events.drift import drift

REFUSED = [
    (lambda: OnModelPromoted(""), ValueError, r"OnModelPromoted\(model=...\) cannot be empty"),
    (lambda: OnModelPromoted(3), TypeError, r"OnModelPromoted\(model=...\) takes a text, not 3"),
    (lambda: OnModelPromoted("churn", alias=" "), ValueError, r"alias=...\) cannot be empty"),
    (lambda: OnModelPromoted("churn", parameters=["x"]), TypeError, "takes a mapping from the flow's parameters"),
    (lambda: OnMetric("auc"), ValueError, r"OnMetric\('auc'\) needs a limit: below=, above=, or both"),
    (lambda: OnMetric("auc", below="0.9"), TypeError, r"below=...\) takes a number, not '0.9'"),
    (lambda: OnMetric("auc", below=True), TypeError, r"below=...\) takes a number, not True"),
    (lambda: OnMetric("auc", below=float("nan")), ValueError, "takes a finite number, not nan"),
    (lambda: OnMetric("auc", below=0.9, above=0.1), ValueError, "would start on every number"),
    (lambda: OnMetric("auc", below=0.9, flow=""), ValueError, r"flow=...\) cannot be empty"),
    (lambda: OnDataset("sales", drift=0), ValueError, "takes a number above 0, such as 0.25, not 0"),
    (lambda: OnDataset("sales", drift=None), ValueError, "takes a number above 0, such as 0.25, not None"),
    (lambda: OnDataset("sales", changed="yes"), TypeError, r"changed=...\) takes True or False, not 'yes'"),
    (lambda: OnDataset("a'b\"c"), ValueError, "both kinds of quotes"),
    (lambda: OnFile(Path("data")), TypeError, r"OnFile\(pattern=...\) takes a text"),
    (lambda: OnEvent("flowml.modl.promoted"), ValueError, "Did you mean 'flowml.model.promoted'"),
    (lambda: OnEvent("prefect.flow-run.Failed"), ValueError, "use a trigger of prefect.events"),
    (lambda: OnEvent("flowml.run.finished", labels={"a": 1}), TypeError, "takes a mapping of text to text"),
]


@pytest.mark.parametrize("make,kind,message", REFUSED)
def test_what_cannot_be_is_refused(make: Any, kind: type[Exception], message: str) -> None:
    """A trigger that could never fire, or always would, says what is wrong with it and what is allowed."""
    with pytest.raises(kind, match=message):
        make()


@flow
def deployed() -> None:
    """Do nothing."""


def test_applying_a_deployment_makes_its_automations_once(client: MlflowClient) -> None:
    """Applied twice it has the same two automations, and none when the triggers are gone."""

    def automations(*triggers: Any) -> list[Any]:
        asked = [trigger.automation_trigger() for trigger in triggers]
        deployment = deployed.from_source(str(ROOT), "tests/events/test_triggers.py:deployed").to_deployment(
            "triggered", triggers=asked
        )
        deployment_id = deployment.apply()
        with get_client(sync_client=True) as prefect:
            made = prefect.read_resource_related_automations(f"prefect.deployment.{deployment_id}")
        assert all(str(one.actions[0].deployment_id) == str(deployment_id) for one in made)
        assert all(one.trigger.match["flowml.deployment"] == [f"!{deployment_id}"] for one in made)
        return sorted(one.description for one in made)

    wanted = OnModelPromoted("churn"), OnMetric("evaluate.auc", below=0.9)
    expected = ["flowml: evaluate.auc is below 0.9", "flowml: the model churn has a new champion"]
    assert automations(*wanted) == expected
    assert automations(*wanted) == expected
    assert automations() == []


@pytest.mark.parametrize("name", ["churn", "*", "ch?rn", "[a]", "!churn", "50%", "naïve model"])
def test_a_name_matches_itself_alone(name: str) -> None:
    """What Prefect would take for a pattern is a name like others."""
    match = OnModelPromoted(name).automation_trigger().match
    told = {"flowml.alias": "champion", "prefect.resource.id": vocabulary.model(name)}
    assert match.matches(Resource(told))
    assert not match.matches(Resource({**told, "prefect.resource.id": vocabulary.model("other")}))
    assert vocabulary.unlabel(vocabulary.label(name)) == name


def test_its_own_runs_do_not_start_a_deployment() -> None:
    """An event of a run of the deployment is not matched, one of another deployment or of none is."""
    trigger, mine = OnMetric("auc", below=0.9).automation_trigger(), uuid4()
    trigger.set_deployment_id(mine)
    match = trigger.as_automation().trigger.match
    told = {"prefect.resource.id": vocabulary.metric("auc"), "flowml.limit": "below 0.9"}
    assert not match.matches(Resource({**told, "flowml.deployment": str(mine)}))
    assert match.matches(Resource({**told, "flowml.deployment": str(uuid4())}))
    assert match.matches(Resource({**told, "flowml.deployment": "none"}))


def test_a_files_pattern_is_that_of_the_project(project: Path) -> None:
    """A relative pattern is under the project's folder, an absolute one stays."""
    (relative,) = OnFile("data/*.csv").automation_trigger().match[vocabulary.ID]
    (absolute,) = OnFile("/data/*.csv").automation_trigger().match[vocabulary.ID]
    assert vocabulary.unlabel(relative) == f"flowml.file.{project}/data/*.csv"
    assert vocabulary.unlabel(absolute) == "flowml.file./data/*.csv"


def profile(values: list[float], missing: float = 0.0) -> str:
    """Write the profile of one column."""
    import json

    points = [sorted(values)[round(share * (len(values) - 1) / 100)] for share in range(101)] if values else []
    return json.dumps({"distribution": {"x": {"percentiles": points, "missing": missing}}})


UNIFORM = [number / 1000 for number in range(1000)]


@pytest.mark.parametrize(
    "before,now,least,most",
    [
        pytest.param(profile(UNIFORM), profile(UNIFORM), 0, 0, id="the same"),
        pytest.param(profile(UNIFORM), profile(UNIFORM[::7]), 0, 0.1, id="a sample"),
        pytest.param(profile(UNIFORM), profile([x + 0.3 for x in UNIFORM]), 0.25, 5, id="shifted"),
        pytest.param(profile([1.0] * 100), profile([1.0] * 100), 0, 0, id="one value"),
        pytest.param(profile([1.0] * 100), profile([0.0] * 100), 0.25, 20, id="another value"),
        pytest.param(profile([0.0, 1.0] * 50), profile([0.0] * 90 + [1.0] * 10), 0.25, 5, id="two values"),
        pytest.param(profile(UNIFORM), profile(UNIFORM, missing=0.5), 0.25, 5, id="half is missing"),
        pytest.param(profile(UNIFORM), profile([], missing=1.0), 0.25, 20, id="all is missing"),
        pytest.param(profile([], missing=1.0), profile([], missing=1.0), 0, 0, id="all was missing"),
        pytest.param(profile([], missing=1.0), profile(UNIFORM), 0.25, 20, id="none was there"),
    ],
)
def test_drift_is_how_far_the_shares_moved(before: str, now: str, least: float, most: float) -> None:
    """The index is nothing for the same values, small for a sample of them, large where they moved."""
    column, index = drift(before, now) or ("", -1)
    assert column == "x"
    assert least <= index <= most


@pytest.mark.parametrize("other", ["{}", "[]", "no json", profile([1.0]).replace('"x"', '"y"')])
def test_profiles_without_a_common_column_have_no_drift(other: str) -> None:
    """What is not profiled, or is of other columns, cannot be compared."""
    assert drift(profile(UNIFORM), other) is None
