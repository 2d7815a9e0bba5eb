"""The commands about deployments, against a real Prefect server; nothing is run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from prefect.blocks.system import Secret
from tests.deploy.conftest import deployed

from flowml.store.backend import in_force

Command = Callable[..., str]


def test_what_a_file_declares_is_deployed(flows: Path, pool: str, own: str, run: Command) -> None:
    """``flowml deploy`` makes of a declaration a deployment with its schedule, and a second time changes nothing."""
    said = run("deploy", f"{flows}:greeting", "--work-pool", pool)
    assert f"{own}/nightly: 0 2 * * * (Europe/Berlin); by workers of {pool}" in said
    first = deployed(f"{own}/nightly")
    assert (first.work_pool_name, first.entrypoint) == (pool, "flows/greet.py:greeting")
    assert deployed(f"{own}/often").tags == ["demo"]
    run("deploy", str(flows), "--work-pool", pool)
    again = deployed(f"{own}/nightly")
    assert [one.id for one in again.schedules] == [one.id for one in first.schedules]


def test_options_describe_a_deployment(flows: Path, pool: str, own: str, run: Command) -> None:
    """With a name the options are the deployment: its schedule, parameters, tags, limit and pool."""
    options = ["--cron", "0 3 * * 1", "--timezone", "Asia/Tokyo", "--param", "times=3", "--param", "name=7"]
    options += ["--work-pool", pool, "--tag", "a", "--tag", "b", "--concurrency-limit", "1"]
    run("deploy", f"{flows}:greeting", "--name", "weekly", *options)
    found = deployed(f"{own}/weekly")
    assert found.parameters == {"times": 3, "name": "7"}
    assert sorted(found.tags) == ["a", "b"]
    assert found.global_concurrency_limit.limit == 1
    assert [(one.schedule.cron, one.schedule.timezone) for one in found.schedules] == [("0 3 * * 1", "Asia/Tokyo")]


def test_a_changed_schedule_takes_the_place_of_the_old(flows: Path, pool: str, own: str, run: Command) -> None:
    """Deployed with another schedule, a deployment has that one alone; without one, none; and it may stay paused."""
    deploy = ("deploy", f"{flows}:greeting", "--name", "changing", "--work-pool", pool)
    run(*deploy, "--interval", "15m")
    run("pause", f"{own}/changing")
    run(*deploy, "--rrule", "FREQ=WEEKLY;BYDAY=MO")
    (schedule,) = deployed(f"{own}/changing").schedules
    assert schedule.schedule.rrule.endswith("FREQ=WEEKLY;BYDAY=MO")
    assert (schedule.active, deployed(f"{own}/changing").paused) == (False, True)
    run(*deploy, "--rrule", "FREQ=WEEKLY;BYDAY=MO")
    assert [one.id for one in deployed(f"{own}/changing").schedules] == [schedule.id]
    run("resume", f"{own}/changing")
    assert (deployed(f"{own}/changing").schedules[0].active, deployed(f"{own}/changing").paused) == (True, False)
    run(*deploy)
    assert deployed(f"{own}/changing").schedules == []


def test_triggers_become_automations_once(project: Path, pool: str, own: str, run: Command) -> None:
    """A trigger is one automation however often it is deployed, and none when it is no longer declared."""
    file = project / "triggered.py"
    written = f"""
from prefect.events import DeploymentEventTrigger
from flowml import Deployment, flow

@flow(name="{own}")
def triggered() -> None: ...

made = Deployment(triggered, "on-event", triggers=[DeploymentEventTrigger(expect={{"something.happened"}})])
"""
    file.write_text(written)
    run("deploy", "triggered.py", "--work-pool", pool)
    run("deploy", "triggered.py", "--work-pool", pool)
    assert automations(own) == 1
    file.write_text(written.partition("made =")[0] + 'made = Deployment(triggered, "on-event")\n')
    sys.modules.pop("triggered")
    run("deploy", "triggered.py", "--work-pool", pool)
    assert automations(own) == 0


def automations(own: str) -> int:
    """Count the automations that a deployment owns."""
    from prefect.client.orchestration import get_client

    mine = f"prefect.deployment.{deployed(f'{own}/on-event').id}"
    with get_client(sync_client=True) as prefect:
        return len(prefect.request("GET", f"/automations/related-to/{mine}").json())


def test_deployments_are_listed(flows: Path, pool: str, own: str, run: Command) -> None:
    """``flowml deployments`` names each with its schedule and who runs it, and as JSON too."""
    run("deploy", str(flows), "--work-pool", pool)
    lines = [line.split("\t") for line in run("deployments").splitlines()]
    (line,) = [line for line in lines if line[0] == f"{own}/nightly"]
    assert (line[1], line[3]) == ("0 2 * * * (Europe/Berlin)", f"work pool {pool} (away)")
    rows = {row["name"]: row for row in json.loads(run("deployments", "--json"))}
    nightly = rows[f"{own}/nightly"]
    assert nightly["schedules"] == ["0 2 * * * (Europe/Berlin)"]
    assert (nightly["work_pool"], nightly["paused"], nightly["ready"]) == (pool, False, False)


def test_resuming_says_when_nobody_is_there(flows: Path, pool: str, own: str, run: Command) -> None:
    """A schedule that goes on starts nothing while no worker asks for its runs."""
    run("deploy", f"{flows}:greeting", "--work-pool", pool)
    run("pause", f"{own}/nightly")
    said = run("resume", f"{own}/nightly")
    assert f"{own}/nightly runs again as scheduled." in said
    assert f"no worker of the pool {pool} asks for its runs now" in said


@pytest.mark.parametrize(
    "options, said",
    [
        (
            ["flows/gret.py:greeting", "--name", "n"],
            "no file or folder 'flows/gret.py' with flows (did you mean 'greet.py'",
        ),
        (["flows/greet.py:greetin", "--name", "n"], "no flow 'greetin' in flows/greet.py (did you mean 'greeting'?)"),
        (["flows/greet.py", "--name", "n"], "flows/greet.py holds greeting, needy; name one"),
        (["flows/greet.py:needy"], "declares no deployment. Give one a name here (--name nightly)"),
        (["flows", "--name", "n"], "--name n is about one flow; name it"),
        (["flows/greet.py:greeting", "--name", "n", "--cron", "x"], "'x' is no cron expression"),
        (["flows/greet.py:greeting", "--name", "n", "--interval", "soon"], "'soon' is no duration"),
        (["flows/greet.py:greeting", "--name", "n", "--rrule", "x"], "'x' is no recurrence rule"),
        (
            ["flows/greet.py:greeting", "--name", "n", "--cron", "0 2 * * *", "--interval", "1m"],
            "--cron and --interval",
        ),
        (
            ["flows/greet.py:greeting", "--name", "n", "--timezone", "Europe/Berlin"],
            "needs --cron, --interval or --rrule",
        ),
        (
            ["flows/greet.py:greeting", "--name", "n", "--param", "tmes=2"],
            "no parameter 'tmes' (did you mean 'times'?)",
        ),
        (["flows/greet.py:greeting", "--name", "n", "--param", "times=two"], "'times' of"),
        (["flows/greet.py:greeting", "--name", "n", "--param", "times"], "it is a name and a value"),
        (["flows/greet.py:needy", "--name", "n", "--interval", "1m"], "its parameter 'rows' has no default"),
        (["flows/greet.py:greeting", "--name", "n", "--concurrency-limit", "0"], "concurrency_limit=0 cannot be"),
        (["flows/greet.py:greeting", "--name", "n"], "has no work pool: give one (--work-pool, work_pool=)"),
        (["flows/greet.py:greeting", "--name", "n", "--work-pool", "gpus"], "There is no work pool 'gpus'"),
        (["flows/greet.py:greeting", "--name", "n", "--tracking-uri", "secret:nowhere"], "no Secret block 'nowhere'"),
    ],
)
def test_what_cannot_be_is_refused(flows: Path, pool: str, refused: Command, options: list[str], said: str) -> None:
    """What cannot be deployed ends with 2 and the nearest valid thing, and nothing is created."""
    with_pool = ["--work-pool", pool] if "secret:nowhere" in options else []
    assert said in refused("deploy", *options, *with_pool)


def test_one_bad_declaration_keeps_all_from_being_deployed(flows: Path, pool: str, refused: Command) -> None:
    """When one file of a folder cannot be deployed, none is; the message names the file and the line's fault."""
    (flows.parent / "worse.py").write_text(
        "from flowml import Cron, Deployment, flow\n"
        "@flow\ndef worse(): ...\n"
        "d = Deployment(worse, 'x', schedule=Cron('x'))\n"
    )
    assert "In worse.py: 'x' is no cron expression" in refused("deploy", "--work-pool", pool)
    (flows.parent / "worse.py").write_text("import nothing_of_the_sort\n")
    assert "worse.py cannot be loaded: ModuleNotFoundError" in refused("serve")


def test_a_near_work_pool_is_named(flows: Path, pool: str, refused: Command) -> None:
    """Of a work pool that does not exist the nearest is named."""
    assert f"(did you mean '{pool}'?)" in refused("deploy", str(flows), "--work-pool", f"{pool}x")


def test_a_name_is_one_deployments(flows: Path, pool: str, own: str, run: Command, refused: Command) -> None:
    """A name that is another flow's, or given twice, is refused; ``--replace`` takes it over."""
    run("deploy", str(flows), "--work-pool", pool)
    other = flows.with_name("zoo.py")
    other.write_text(
        f"from flowml import Deployment, flow\n@flow(name='{own}')\ndef zoo(): ...\nd = Deployment(zoo, 'often')\n"
    )
    said = refused("deploy", "flows/zoo.py", "--work-pool", pool)
    assert f"{own}/often is the deployment of another flow, flows/greet.py:greeting" in said
    assert f"Two deployments are called '{own}/often' (in greet.py, zoo.py)" in refused("deploy", "--work-pool", pool)
    assert "another flow" in refused("serve", "flows/zoo.py")
    run("deploy", "flows/zoo.py", "--work-pool", pool, "--replace")
    assert deployed(f"{own}/often").entrypoint == "flows/zoo.py:zoo"


def test_a_command_about_no_deployment_is_refused(
    flows: Path, pool: str, own: str, run: Command, refused: Command
) -> None:
    """A deployment that does not exist is refused with the nearest, and so are parameters that do not fit."""
    run("deploy", f"{flows}:greeting", "--work-pool", pool)
    for command in (["pause"], ["resume"], ["trigger"], ["backfill", "--from", "2026-01-01", "--to", "2026-01-02"]):
        said = refused(command[0], f"{own}/nihgtly", *command[1:])
        assert f"There is no deployment '{own}/nihgtly' (did you mean '{own}/nightly'?)" in said
    assert "no parameter 'tmes' (did you mean 'times'?)" in refused("trigger", f"{own}/nightly", "--param", "tmes=2")
    assert "cannot be 'two'" in refused("trigger", f"{own}/nightly", "--param", "times=two")
    assert "ends before it begins" in refused(
        "backfill", f"{own}/nightly", "--from", "2026-01-02", "--to", "2026-01-01"
    )
    assert "cannot be read" in refused("backfill", f"{own}/nightly", "--from", "soon", "--to", "2026-01-01")
    assert "still to come" in refused("backfill", f"{own}/nightly", "--from", "2999-01-01", "--to", "2999-01-02")
    period = ("--from", "2026-01-01", "--to", "2026-01-02")
    assert "--concurrency-limit 0 cannot be" in refused(
        "backfill", f"{own}/nightly", *period, "--concurrency-limit", "0"
    )


def test_backfill_tells_the_times(flows: Path, pool: str, own: str, run: Command) -> None:
    """``--dry-run`` names each scheduled time, by the schedule's own clock, through a change of the clocks."""
    run("deploy", f"{flows}:greeting", "--work-pool", pool)
    said = run("backfill", f"{own}/nightly", "--from", "2026-03-28", "--to", "2026-03-30", "--dry-run")
    assert "has 3 scheduled times in that period: 3 to run" in said
    first, _, last = (line.strip() for line in said.splitlines()[1:])  # the second has no 02:00
    assert (first, last) == ("2026-03-28T02:00:00+01:00", "2026-03-30T02:00:00+02:00")


def test_tracking_travels_with_a_deployment(
    flows: Path, pool: str, own: str, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment carries where runs go, the experiment and the options, as variables for the worker."""
    monkeypatch.setenv("FLOWML_EXPERIMENT", "churn")
    monkeypatch.setenv("FLOWML_TIMEOUT", "7")
    monkeypatch.setenv("FLOWML_TASK_LINKS", "3")
    monkeypatch.setenv("FLOWML_HOST", "0.0.0.0")
    said = run("deploy", f"{flows}:greeting", "--name", "carried", "--work-pool", pool)
    assert "Runs are tracked in a file of this machine" in said
    carried = deployed(f"{own}/carried").job_variables["env"]
    assert carried["FLOWML_TRACKING_URI"] == in_force.uris()[0]
    assert (carried["FLOWML_EXPERIMENT"], carried["FLOWML_TIMEOUT"]) == ("churn", "7.0")
    assert carried["FLOWML_TASK_LINKS"] == "3"
    assert "FLOWML_HOST" not in carried  # of `flowml up` here


def test_passwords_do_not_travel(  # noqa: PLR0913, PLR0917 - fixtures
    flows: Path, pool: str, own: str, run: Command, refused: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URI with a password is refused; its place is taken by the name of a variable or of a Secret block."""
    deploy = ("deploy", f"{flows}:greeting", "--name", "secretive", "--work-pool", pool)
    password = "xyzzy-12"
    monkeypatch.setenv("FLOWML_TRACKING_URI", f"postgresql://flowml:{password}@db/mlflow")
    said = refused(*deploy)
    assert "holds a password" in said
    assert "env:NAME" in said
    assert password not in said
    run(*deploy, "--tracking-uri", "env:MLFLOW_DB")
    assert deployed(f"{own}/secretive").job_variables["env"]["FLOWML_TRACKING_URI"] == "env:MLFLOW_DB"
    Secret(value="sqlite:////tmp/x.db").save(own, overwrite=True)
    run(*deploy, "--tracking-uri", f"secret:{own}")
    reference = f"{{{{ prefect.blocks.secret.{own} }}}}"
    assert deployed(f"{own}/secretive").job_variables["env"]["FLOWML_TRACKING_URI"] == reference
    assert "would disclose" in refused(*deploy, "--tracking-uri", f"secret:{own}", "--export")
    monkeypatch.setenv("MLFLOW_DB", f"postgresql://flowml:{password}@db/mlflow")
    monkeypatch.setenv("FLOWML_TRACKING_URI", "env:MLFLOW_DB")
    run(*deploy)
    assert deployed(f"{own}/secretive").job_variables["env"]["FLOWML_TRACKING_URI"] == "env:MLFLOW_DB"


@pytest.mark.e2e
@pytest.mark.slow
def test_prefect_deploys_what_was_exported(  # noqa: PLR0913, PLR0917 - fixtures
    project: Path, flows: Path, pool: str, own: str, run: Command, refused: Command, environment: Mapping[str, str]
) -> None:
    """``prefect deploy --all`` takes the file that ``--export`` wrote, and makes the same deployments."""
    run("deploy", "--work-pool", pool)
    names = [f"{own}/often", f"{own}/nightly"]
    before = [form(name) for name in names]
    run("deploy", "--work-pool", pool, "--export")
    run("deploy", "--work-pool", pool, "--export")  # it writes its own file anew
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [form(name) for name in names] == before
    (project / "prefect.yaml").write_text("name: mine\n")
    assert "is there already, and not flowml's" in refused("deploy", "--work-pool", pool, "--export")


def form(name: str) -> object:
    """Return what makes a deployment what it is."""
    found = deployed(name)
    schedules = [one.schedule.model_dump() for one in found.schedules]
    return found.entrypoint, found.parameters, found.tags, schedules, found.job_variables, found.pull_steps
