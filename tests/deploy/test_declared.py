"""What can be declared beside a flow, and what is refused there and then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import prefect
import pytest
from prefect.schedules import Schedule

from flowml import Cron, Deployment, DeploymentError, Interval, RRule, flow


@flow
def training(rows: int, name: str = "Ada") -> int:
    """Be a flow with a parameter that has no default."""
    return rows


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: Cron("0 25 * * *"), r"'0 25 \* \* \*' is no cron expression: write minute, hour"),
        (lambda: Cron("nightly"), "is no cron expression"),
        (
            lambda: Cron("0 2 * * *", timezone="Europe/Berln"),
            r"time zone 'Europe/Berln' \(did you mean 'Europe/Berlin'",
        ),
        (lambda: Interval("15 minutes"), "'15 minutes' is no duration; write a number and s, m, h or d"),
        (lambda: Interval(0), "An interval of 0 cannot be: it is between a second and ten years"),
        (lambda: Interval(timedelta(days=9999)), "between a second and ten years"),
        (lambda: Interval("1d", timezone="CEST+1"), "There is no time zone 'CEST"),
        (lambda: RRule("FREQ=NIGHTLY"), "'FREQ=NIGHTLY' is no recurrence rule"),
        (lambda: RRule("every day"), "is no recurrence rule"),
        (lambda: Deployment(len, "nightly"), "takes a flow, a function with @flow, not <built-in function len>"),
        (lambda: Deployment(training, "a/b"), "cannot be called 'a/b'"),
        (lambda: Deployment(training, " "), "cannot be called ' '"),
        (lambda: Deployment(training, "n", schedule="0 2 * * *"), r"schedule='0 2 \* \* \*' cannot be: write Cron"),
        (lambda: Deployment(training, "n", schedule=Cron("0 2 * * *")), "its parameter 'rows' has no default"),
        (lambda: Deployment(training, "n", parameters={"row": 1}), r"no parameter 'row' \(did you mean 'rows'\?\)"),
        (lambda: Deployment(training, "n", parameters={"rows": "ten"}), "'rows' of training cannot be 'ten'"),
        (lambda: Deployment(training, "n", parameters={"rows": object()}), "cannot be kept by Prefect"),
        (lambda: Deployment(training, "n", parameters=["rows"]), "they are a mapping"),
        (lambda: Deployment(training, "n", concurrency_limit=0), "concurrency_limit=0 cannot be"),
        (lambda: Deployment(training, "n", tags="a"), "tags='a' cannot be: they are a list"),
        (lambda: Deployment(training, "n", triggers="a"), "triggers='a' cannot be: they are a list"),
        (lambda: Deployment(training, "n", triggers=["a"]), "'a' in triggers= cannot be: an item is one of flowml's"),
        (
            lambda: Deployment(
                training, "n", parameters={"rows": 1}, schedule=Cron("0 2 * * *", parameters={"rows": "ten"})
            ),
            "'rows' of training cannot be 'ten'",
        ),
        (lambda: Deployment(training, "n", work_pool=1), "work_pool=1 cannot be"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(make: Callable[[], Any], said: str) -> None:
    """A schedule or deployment that cannot be is an error of the line that writes it, and says what to write."""
    with pytest.raises(DeploymentError, match=said):
        make()


def test_a_schedule_is_prefects_own() -> None:
    """The schedules are Prefect's, so that ``flow.serve`` takes them too; an interval counts from a fixed moment."""
    assert isinstance(Cron("0 2 * * *", timezone="Europe/Berlin"), Schedule)
    assert Interval("15m").anchor_date == Interval("15m").anchor_date
    assert Interval("1.5h").interval == timedelta(minutes=90)
    assert RRule("FREQ=WEEKLY;BYDAY=MO").rrule == "FREQ=WEEKLY;BYDAY=MO"


def test_a_schedule_may_give_what_the_flow_needs() -> None:
    """A schedule's own parameters count where the deployment has none; another schedule then needs them too."""
    given = Cron("0 2 * * *", parameters={"rows": 1})
    made = Deployment(training, "n", schedule=given).to_prefect()
    assert [one.parameters for one in made.schedules or []] == [{"rows": 1}]
    with pytest.raises(DeploymentError, match="its parameter 'rows' has no default"):
        Deployment(training, "n", schedule=[given, Cron("0 3 * * *")])


def test_prefects_own_schedules_are_taken() -> None:
    """Prefect's schedules, of its schedules module and of its API's, are taken, one or several."""
    from prefect.client.schemas.schedules import CronSchedule

    own = [prefect.schedules.Interval(60), CronSchedule(cron="0 2 * * *")]
    made = Deployment(training, "n", schedule=own, parameters={"rows": 1})
    assert len(made.to_prefect().schedules or []) == 2


def test_a_trigger_gives_what_prefect_takes() -> None:
    """A trigger with the method ``automation_trigger`` is asked for Prefect's, and Prefect's own are taken."""
    from prefect.events import DeploymentEventTrigger

    class OnSomething:
        def automation_trigger(self) -> DeploymentEventTrigger:
            return DeploymentEventTrigger(expect={"something.happened"})

    plain = DeploymentEventTrigger(expect={"other.happened"})
    made = Deployment(training, "n", triggers=[OnSomething(), plain]).to_prefect()
    assert [sorted(one.expect) for one in made.triggers] == [["something.happened"], ["other.happened"]]
