"""The commands of the local servers, as they are typed."""

from __future__ import annotations

import sys

import cyclopts

from flowml.cli.exit_codes import exit_on_error

app = cyclopts.App()


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
    serve: str | None = None,
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
        serve: A registered model that is served too, such as `churn@champion`.
    """
    from flowml.cli.servers import run_up
    from flowml.ops.servers.options import Wanted

    with exit_on_error():
        run_up(Wanted(prefect_db, mlflow_db, artifacts, host, prefect_port, mlflow_port), detach=detach, serve=serve)


@app.command
def down() -> None:
    """Stop this project's servers and all that they started, and those that serve its models."""
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
def logs(server: str | None = None, /, *, follow: bool = False, lines: int = 50) -> None:
    """Show the end of what this project's servers said.

    Args:
        server: Which one: `prefect`, `mlflow`, or what is served, such as `churn@champion`. Default: all.
        follow: Go on with what they say from now on, until Ctrl-C.
        lines: How many lines of each.
    """
    from flowml.cli.servers import run_logs

    with exit_on_error():
        run_logs(server, follow=follow, lines=lines)
