"""The commands about deployments, as they are typed."""

from __future__ import annotations

import sys
from typing import Annotated

import cyclopts

from flowml.cli.exit_codes import exit_on_error

Texts = Annotated[tuple[str, ...], cyclopts.Parameter(negative="", show_default=False)]

app = cyclopts.App()


@app.command
def deploy(  # noqa: PLR0913 - each is an option of the command line
    *flows: str,
    name: str | None = None,
    cron: str | None = None,
    interval: str | None = None,
    rrule: str | None = None,
    timezone: str | None = None,
    param: Texts = (),
    work_pool: str | None = None,
    tag: Texts = (),
    concurrency_limit: int | None = None,
    tracking_uri: str | None = None,
    registry_uri: str | None = None,
    source: str | None = None,
    replace: bool = False,
    export: bool = False,
) -> None:
    """Deploy flows to a work pool: those that files declare, or one that the options describe.

    Options change what a file declares, for this call.

    Args:
        flows: Files, folders, or file.py:flow. Default: the folder flows.
        name: The deployment's name, for one flow. Default: all that are declared.
        cron: When it runs, such as "0 2 * * *".
        interval: Or how often, such as 15m, 2h or 1d.
        rrule: Or by a calendar rule, such as "FREQ=WEEKLY;BYDAY=MO".
        timezone: Whose clock is meant, such as Europe/Berlin. Default: UTC.
        param: A parameter as name=value; several times for several.
        work_pool: The pool whose workers run it. Default: Prefect's default pool.
        tag: A tag for its runs; several times for several.
        concurrency_limit: How many of its runs there may be at once.
        tracking_uri: Where a worker's runs go; also env:NAME or secret:NAME. Default: where they go from here.
        registry_uri: The same for the model registry.
        source: Where workers get the code from, such as git+https://host/team/project.git@main. Default: this folder.
        replace: Take the place of another flow's deployment of the same name.
        export: Deploy nothing; write prefect.yaml, for `prefect deploy`.
    """
    from flowml.cli.deployments_view import run_deploy
    from flowml.deploy.choosing import Options

    with exit_on_error():
        options = Options(
            name=name,
            cron=cron,
            interval=interval,
            rrule=rrule,
            timezone=timezone,
            param=param,
            work_pool=work_pool,
            tag=tag,
            concurrency_limit=concurrency_limit,
            tracking_uri=tracking_uri,
            registry_uri=registry_uri,
            source=source,
        )
        run_deploy(list(flows), options, export_only=export, replace=replace)


@app.command
def serve(*flows: str, limit: int | None = None, replace: bool = False) -> None:
    """Serve flows with the deployments that they declare, from one process, until Ctrl-C.

    Args:
        flows: Files, folders, or file.py:flow. Default: the folder flows.
        limit: How many runs there may be at once. Default: 5, or as PREFECT_RUNNER_PROCESS_LIMIT says.
        replace: Take the place of another flow's deployment of the same name.
    """
    from flowml.cli.deployments_view import run_serve

    with exit_on_error():
        run_serve(list(flows), limit=limit, replace=replace)


@app.command
def deployments(*, json: bool = False) -> None:
    """List the deployments: when each runs next, and who runs it.

    Args:
        json: Print JSON.
    """
    from flowml.cli.deployments_view import run_deployments

    with exit_on_error():
        run_deployments(as_json=json)


@app.command
def trigger(deployment: str, /, *, param: Texts = (), watch: bool = False) -> None:
    """Start a run of a deployment now.

    Args:
        deployment: Such as training/nightly.
        param: A parameter as name=value; several times for several.
        watch: Wait until it has ended; ends with 1 if it failed.
    """
    from flowml.cli.deployments_view import run_trigger

    with exit_on_error():
        sys.exit(0 if run_trigger(deployment, list(param), watch=watch) else 1)


@app.command
def pause(deployment: str, /) -> None:
    """Pause a deployment's schedules.

    Args:
        deployment: Such as training/nightly.
    """
    from flowml.cli.deployments_view import run_pause

    with exit_on_error():
        run_pause(deployment)


@app.command
def resume(deployment: str, /) -> None:
    """Let a paused deployment's schedules go on.

    Args:
        deployment: Such as training/nightly.
    """
    from flowml.cli.deployments_view import run_resume

    with exit_on_error():
        run_resume(deployment)


@app.command
def backfill(
    deployment: str,
    /,
    *,
    start: Annotated[str, cyclopts.Parameter(name="--from")],
    end: Annotated[str, cyclopts.Parameter(name="--to")],
    concurrency_limit: int = 1,
    dry_run: bool = False,
) -> None:
    """Run a deployment once for each time of its schedule in a period; times that are done are passed over.

    Args:
        deployment: Such as training/nightly.
        start: The first day or moment, such as 2026-01-01.
        end: The last one; a day is meant to its end.
        concurrency_limit: How many runs there may be at once.
        dry_run: Run nothing; print the times.
    """
    from flowml.cli.deployments_view import run_backfill

    with exit_on_error():
        sys.exit(0 if run_backfill(deployment, start, end, concurrency_limit=concurrency_limit, dry_run=dry_run) else 1)
