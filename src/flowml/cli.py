"""The command ``flowml``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Literal

import cyclopts

app = cyclopts.App(
    name="flowml",
    help="Prefect flows and tasks that track themselves in MLflow.",
    version=version("prefect-flowml"),
    version_flags=["--version"],
)


@contextmanager
def _said_in_one_line() -> Iterator[None]:
    """End with 2 when the command cannot be done as asked, with 1 when it failed; and say why, without a traceback."""
    from flowml.errors import FlowmlError, StackError

    try:
        yield
    except (LookupError, FlowmlError) as error:
        sys.stderr.write(f"flowml: {error}\n")
        sys.exit(1 if isinstance(error, StackError) else 2)


@app.command
def show(flow: str, /) -> None:
    """Show the latest run of a flow: each of its runs, its metrics, and where to look further.

    Args:
        flow: The flow's name in Prefect.
    """
    from flowml import ops

    with _said_in_one_line():
        ops.show(flow)


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
    from flowml.ops.choices import Wanted
    from flowml.ops.terminal import run_up

    with _said_in_one_line():
        run_up(Wanted(prefect_db, mlflow_db, artifacts, host, prefect_port, mlflow_port), detach=detach)


@app.command
def down() -> None:
    """Stop this project's servers and all that they started."""
    from flowml.ops.terminal import run_down

    with _said_in_one_line():
        run_down()


@app.command
def status(*, json: bool = False) -> None:
    """Tell how this project's servers are; ends with 0 if both run, else with 1.

    Args:
        json: As JSON.
    """
    from flowml.ops.terminal import run_status

    with _said_in_one_line():
        sys.exit(0 if run_status(as_json=json) else 1)


@app.command
def logs(server: Literal["prefect", "mlflow"] | None = None, /, *, follow: bool = False, lines: int = 50) -> None:
    """Show the end of what this project's servers said.

    Args:
        server: Which one. Default: both.
        follow: Go on with what they say from now on, until Ctrl-C.
        lines: How many lines of each.
    """
    from flowml.ops.terminal import run_logs

    with _said_in_one_line():
        run_logs(server, follow=follow, lines=lines)


if __name__ == "__main__":
    app()
