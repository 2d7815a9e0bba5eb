"""The command ``flowml``."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, Literal

import cyclopts

from flowml.cli import runs
from flowml.cli.deployments import attach
from flowml.cli.exit_codes import exit_on_error
from flowml.formats import seconds
from flowml.ops.output import say

Duration = Annotated[float, cyclopts.Parameter(converter=lambda _, tokens: seconds(tokens[0].value))]

app = cyclopts.App(
    name="flowml",
    help="Prefect flows and tasks that track themselves in MLflow.",
    version=version("prefect-flowml"),
    version_flags=["--version"],
)
app.update(runs.app)
attach(app)


@app.command
def reap(*, grace: Duration = 60.0, older_than: Duration = 0.0, dry_run: bool = False, json: bool = False) -> None:
    """Close the MLflow runs whose flow or task run has ended without them: killed, lost, or deleted in Prefect.

    Args:
        grace: Leave a run whose Prefect run ended less than this ago, such as 90s, 10m, 2h or 1d.
        older_than: Look only at runs that began longer ago than this.
        dry_run: Close nothing; print what would be closed.
        json: Print JSON.
    """
    from flowml.ops.reaping.reap_runs import reap_runs

    with exit_on_error():
        report = reap_runs(grace=grace, older_than=older_than, dry_run=dry_run)
        report.print(as_json=json)


@app.command
def delete(flow_run: str, /, *, yes: bool = False) -> None:
    """Delete a flow's run and all below it, after asking; `flowml restore` brings them back.

    Args:
        flow_run: The flow run's id or name in Prefect, or its run's id in MLflow.
        yes: Do not ask.
    """
    from flowml.ops.view import deleting

    with exit_on_error():
        family = deleting.family_of(flow_run)
        if family.versions:
            say(f"Registered models that were made from these runs stay: {', '.join(family.versions)}.")
        if family.still_open:
            say(f"{family.still_open} of these runs are still open: whoever writes to them will fail to.")
        count, name = len(family.run_ids), family.flow_run.info.run_name
        if not yes and not _agreed(f"Delete {count} runs, {name} and all below it?"):
            say("Nothing was deleted.")
            sys.exit(1)
        deleted = deleting.delete(family.flow_run.info.run_id)
        say(f"{deleted} runs deleted; `flowml restore {flow_run}` brings them back.")


@app.command
def restore(flow_run: str, /) -> None:
    """Bring back what `flowml delete` deleted, and nothing else.

    Args:
        flow_run: The flow run's id or name in Prefect, or its run's id in MLflow.
    """
    from flowml.ops.view import deleting

    with exit_on_error():
        say(f"{deleting.restore(flow_run)} runs restored.")


@app.command
def up(  # noqa: PLR0913 - each is an option of the command line
    *,
    detach: bool = False,
    prefect_db: str | None = None,
    mlflow_db: str | None = None,
    artifacts: str | None = None,
    host: str | None = None,
    prefect_port: int | None = None,
    mlflow_port: int | None = None,
) -> None:
    """Start a Prefect server and an MLflow server for this project; its flows find them by themselves.

    What is left out is as the settings say, and else as below. Ctrl-C or `flowml down` ends both.

    Args:
        detach: Return when both answer, and leave them running.
        prefect_db: Prefect's database, a file or a URI. Default: a SQLite file in .flowml.
        mlflow_db: MLflow's database, a file or a URI. Default: the one that flows write to, in .flowml.
        artifacts: Folder or bucket for MLflow's artifacts. Default: that of the flows, in .flowml.
        host: Address to listen on. Default: 127.0.0.1, which no other machine reaches.
        prefect_port: Default: the first free one from 4200.
        mlflow_port: Default: the first free one from 5000.
    """
    from flowml.cli.servers import run_up
    from flowml.ops.servers.options import Wanted

    with exit_on_error():
        run_up(Wanted(prefect_db, mlflow_db, artifacts, host, prefect_port, mlflow_port), detach=detach)


@app.command
def down() -> None:
    """Stop this project's servers and all that they started."""
    from flowml.cli.servers import run_down

    with exit_on_error():
        run_down()


@app.command
def status(*, json: bool = False) -> None:
    """Tell how this project's servers are; ends with 0 if both run, else with 1.

    Args:
        json: As JSON.
    """
    from flowml.cli.servers import run_status

    with exit_on_error():
        sys.exit(0 if run_status(as_json=json) else 1)


@app.command
def logs(server: Literal["prefect", "mlflow"] | None = None, /, *, follow: bool = False, lines: int = 50) -> None:
    """Show the end of what this project's servers said.

    Args:
        server: Which one. Default: both.
        follow: Go on with what they say from now on, until Ctrl-C.
        lines: How many lines of each.
    """
    from flowml.cli.servers import run_logs

    with exit_on_error():
        run_logs(server, follow=follow, lines=lines)


@app.command
def webhooks(
    *,
    host: str = "127.0.0.1",
    port: int = 4280,
    secret_env: str = "FLOWML_WEBHOOK_SECRET",  # noqa: S107 - the name of a variable
    register: bool = False,
    url: str | None = None,
) -> None:
    """Tell Prefect what MLflow's model registry sends: a version promoted by hand starts the flows that wait for it.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        secret_env: The environment variable with the secret that MLflow signs with.
        register: Make the webhook in MLflow first, or bring it up to date.
        url: Where MLflow reaches this receiver. Default: where it listens.
    """
    from flowml.ops.listeners.webhooks import run

    with exit_on_error():
        run(host, port, secret_env=secret_env, register=register, url=url)


@app.command
def watch_files(*, every: Duration = 2.0) -> None:
    """Tell Prefect of files that appear or change, where deployments wait for them.

    Args:
        every: Look this often.
    """
    from flowml.ops.listeners.watching import run

    with exit_on_error():
        run(every)


@app.command(show=False)
def watch(*, every: Duration = 2.0) -> None:
    """Be the old name of ``watch-files``, which goes with the next release."""
    sys.stderr.write("`flowml watch` is now `flowml watch-files`.\n")
    watch_files(every=every)


def _agreed(question: str) -> bool:
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


if __name__ == "__main__":
    app()
