"""One flow run as a table in the terminal."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from flowml.stack import state
from flowml.store import embedded
from flowml.store.connection import connect, is_there, ui_of
from flowml.store.trouble import masked

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PAGE = 1000


def show(flow_name: str) -> None:
    """Print the latest run of a flow: each of its runs, its metrics, and where to look further.

    Args:
        flow_name: The flow's name in Prefect.

    Raises:
        LookupError: If MLflow holds no run of it.
        TrackingError: If MLflow cannot be reached.

    Example:
        >>> show("training")
    """
    if not is_there():
        msg = f"there is no store at {embedded.default_uri()} yet; run a flow first."
        raise LookupError(msg)
    connection = connect()
    root = _latest(connection.client, flow_name)
    if root is None:
        msg = f"MLflow at {masked(connection.uri)} holds no run of a flow named {flow_name!r}; run it first."
        raise LookupError(msg)
    console = Console()
    console.print(_table(root, _below(connection.client, root)))
    uri = masked(connection.uri)
    ui, stack = ui_of(connection.uri), state.up()
    console.print(
        f"MLflow's UI:   [bold]{ui or _command('mlflow') + ' ui --backend-store-uri ' + uri}[/]", soft_wrap=True
    )
    prefects = stack.prefect.url if stack and stack.prefect.is_alive() else f"{_command('prefect')} server start"
    console.print(f"Prefect's UI:  [bold]{prefects}[/]", soft_wrap=True)


def _command(name: str) -> str:
    """Name a command so that it can be pasted: with its folder, if the shell would not find it."""
    here = Path(sys.executable).with_name(name)
    return name if shutil.which(name) or not here.exists() else str(here)


def _latest(client: MlflowClient, flow_name: str) -> Run | None:
    everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
    quoted = flow_name.replace("'", "")  # no flow's name can have one: MLflow's filters cannot quote it
    mine = f"tags.`prefect.flow_name` = '{quoted}' and tags.`flowml.kind` = 'flow'"
    found = client.search_runs(everywhere, mine, max_results=1)
    return found[0] if found else None


def _below(client: MlflowClient, root: Run) -> list[Run]:
    below = f"tags.`flowml.root_run_id` = '{root.info.run_id}' and attributes.run_id != '{root.info.run_id}'"
    found = client.search_runs(
        [root.info.experiment_id], below, order_by=["attributes.start_time ASC"], max_results=_PAGE
    )
    return list(found)


def _table(root: Run, below: list[Run]) -> Table:
    table = Table(title=f"Flow run {root.info.run_name}", title_justify="left")
    table.add_column("run")
    table.add_column("status")
    table.add_column("seconds", justify="right")
    table.add_column("metrics")
    for run in (root, *below):
        # The root repeats its tasks' metrics as <task>.<metric>; they stand in the tasks' own rows.
        metrics = {key: value for key, value in run.data.metrics.items() if run is not root or "." not in key}
        table.add_row(
            run.info.run_name if run is root else f"  {run.info.run_name}",
            run.info.status,
            f"{((run.info.end_time or run.info.start_time) - run.info.start_time) / 1000:.2f}",
            "  ".join(f"{key}={value:.4g}" for key, value in sorted(metrics.items())),
        )
    return table
