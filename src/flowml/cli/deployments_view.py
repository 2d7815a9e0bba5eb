"""The commands about deployments as they look in the terminal."""

from __future__ import annotations

import json
import sys
from datetime import datetime

from rich.console import Console

from flowml.deploy import choosing, deploying, listing, triggering
from flowml.deploy.backfill import Plan, backfill, plan
from flowml.deploy.choosing import Options
from flowml.deploy.deployment import Deployment
from flowml.deploy.export import export
from flowml.deploy.schedules import Time, as_prefects, by_its_clock
from flowml.deploy.tracking import only_here
from flowml.errors import DeploymentError
from flowml.ops import output

_NOBODY = "nobody has begun it: is it served (`flowml serve`), or does a worker of its pool run?"


def run_deploy(places: list[str], options: Options, *, export_only: bool, replace: bool) -> None:
    """Deploy, or write ``prefect.yaml``.

    Raises:
        DeploymentError: If something cannot be; nothing is created then.
        OrchestrationError: If Prefect's API cannot be reached.
    """
    wanted = choosing.to_deploy(places, options)
    console = _console()
    if export_only:
        file = export(wanted)
        console.print(f"{file} holds {_count(len(wanted), 'deployment')}. Deploy with: prefect deploy --all")
        return
    deploying.deploy(wanted, replace=replace)
    for one in wanted:
        console.print(f"{one.full_name}: {_when(one)}; by workers of {deploying.pool_of(one)}")
    for place in sorted({place for place in map(only_here, wanted) if place}):
        console.print(
            f"Runs are tracked in a file of this machine, {place}: workers of other machines need a server that they "
            "reach (set tracking_uri).",
            style="yellow",
        )
    pools = sorted({deploying.pool_of(one) for one in wanted})
    console.print("\n".join(["A worker starts with:", *(f"  prefect worker start --pool {pool}" for pool in pools)]))


def run_serve(places: list[str], *, limit: int | None, replace: bool) -> None:
    """Serve until Ctrl-C.

    Raises:
        DeploymentError: If something cannot be; nothing is created then.
        OrchestrationError: If Prefect's API cannot be reached.
    """
    wanted = choosing.to_serve(places)
    console = _console()

    def when_ready() -> None:
        for one in wanted:
            console.print(f"{one.full_name}: {_when(one)}")
        console.print("They run from this process until Ctrl-C.")
        sys.stdout.flush()

    deploying.serve(wanted, limit=limit, replace=replace, when_ready=when_ready)
    console.print("Stopped; their schedules are paused until they are served again.")


def run_deployments(*, as_json: bool) -> None:
    """Print all deployments.

    Raises:
        OrchestrationError: If Prefect's API cannot be asked.
    """
    rows = listing.deployments()
    if as_json:
        sys.stdout.write(json.dumps([row.as_json() for row in rows], indent=2) + "\n")
        return
    if not rows:
        _console().print("There are no deployments. Make some: flowml serve, or flowml deploy")
        return
    output.rows(("deployment", "schedule", "next run", "run by"), map(_row, rows))


def _row(row: listing.Row) -> tuple[str, ...]:
    when = "; ".join(row.schedules) or "when asked to"
    upcoming = row.next_run.astimezone() if row.next_run else None
    if output.is_terminal():
        told = upcoming.strftime("%Y-%m-%d %H:%M:%S") if upcoming else ""
    else:
        told = upcoming.isoformat(timespec="seconds") if upcoming else "-"
    by = f"work pool {row.work_pool}" if row.work_pool else "flowml serve"
    return row.name, when, "paused" if row.is_paused else told, by + ("" if row.is_ready else " (away)")


def run_trigger(name: str, parameters: list[str], *, watch: bool) -> bool:
    """Start a run, and perhaps wait for it; returns whether all is well.

    Raises:
        DeploymentError: If it cannot be; nothing is started then.
        OrchestrationError: If Prefect's API cannot be asked.
    """
    console = _console()
    run = triggering.trigger(name, parameters)
    console.print(f"{run.name} is started.")
    if watch:
        run = triggering.watch(run.id, lambda now: console.print(f"{_clock()} {now.state}{_hint(now)}"))
    console.print(f"Prefect  {run.url or run.id}")
    if watch:
        console.print(f"MLflow   {run.mlflow_url or 'no page is known'}")
    return not watch or run.is_good


def run_pause(name: str) -> None:
    """Pause a deployment.

    Raises:
        DeploymentError: If there is none.
        OrchestrationError: If Prefect's API cannot be asked.
    """
    _console().print(f"{triggering.pause(name).name} is paused: its schedules start nothing until `flowml resume`.")


def run_resume(name: str) -> None:
    """Resume a deployment.

    Raises:
        DeploymentError: If there is none.
        OrchestrationError: If Prefect's API cannot be asked.
    """
    resumed = triggering.resume(name)
    _console().print(f"{resumed.name} runs again as scheduled.")
    if not resumed.is_ready:
        pool = resumed.work_pool
        away = f"no worker of the pool {pool} asks for its runs" if pool else "nobody serves it"
        start = f"prefect worker start --pool {pool}" if pool else "flowml serve"
        _console().print(f"But {away} now, so none will start. Start one: {start}", style="yellow")


def run_backfill(name: str, start: str, end: str, *, concurrency_limit: int, dry_run: bool) -> bool:
    """Run a deployment for times that have passed; returns whether all is well.

    Raises:
        DeploymentError: If it cannot be; nothing is started then.
        OrchestrationError: If Prefect's API cannot be asked.
    """
    if concurrency_limit < 1:
        msg = f"--concurrency-limit {concurrency_limit} cannot be: it is how many runs there may be at once, 1 or more."
        raise DeploymentError(msg)
    console = _console()
    found = plan(name, start, end)
    console.print(_planned(found))
    if dry_run:
        for one in found.left:
            console.print(f"  {_by_its_clock(found, one)}{'' if one.parameters == '{}' else f'  {one.parameters}'}")
        return True

    said = [False]

    def say(time: Time, run: triggering.Started) -> None:
        if run.is_over:
            console.print(f"{_by_its_clock(found, time)}  {run.state}  {run.url or run.name}")
        elif _hint(run) and not said[0]:
            said[0] = True
            console.print(f"{_by_its_clock(found, time)}  {run.state}{_hint(run)}")

    try:
        ended = backfill(found, concurrency_limit=concurrency_limit, say=say)
    except KeyboardInterrupt:
        console.print("Interrupted: what is started goes on, and the same command goes on with the rest.")
        sys.exit(130)
    bad = sum(not run.is_good for run in ended)
    if bad:
        console.print(f"{bad} of {_count(len(ended), 'run')} failed; the same command runs those again.")
    return not bad


def _planned(found: Plan) -> str:
    left = len(found.left)
    done = f", {len(found.done)} of them done already" if found.done else ""
    times = _count(len(found.times), "scheduled time")
    return f"{found.name} has {times} in that period{done}: {left or 'nothing'} to run."


def _by_its_clock(found: Plan, time: Time) -> str:
    return by_its_clock(time.moment, found.schedules[time].schedule).isoformat()


def _when(deployment: Deployment) -> str:
    from flowml.capture.engine.origin import in_words

    words = [in_words(as_prefects(one).schedule) for one in deployment.schedules]
    return "; ".join(words) or ("on events" if deployment.triggers else "when asked to")


def _hint(run: triggering.Started) -> str:
    return f": {_NOBODY}" if run.state == "Late" else ""


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _clock() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")


def _console() -> Console:
    width = None if sys.stdout.isatty() else 200
    return Console(soft_wrap=True, highlight=False, markup=False, width=width)
