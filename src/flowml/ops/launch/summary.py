"""What is said at the end of a flow run that was started from the command line."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from flowml import process
from flowml.errors import FlowmlError
from flowml.ops import output
from flowml.ops.runs import Runs, quoted
from flowml.ops.view import facts
from flowml.ops.view.show import where
from flowml.store.backend.connection import Connection, connect
from flowml.store.backend.failures import explained
from flowml.store.backend.in_force import is_there
from flowml.store.flow_end import losses

if TYPE_CHECKING:
    from mlflow.entities import Run


def own_run(flow: str) -> Run | None:
    """Return the run that a flow which was called in this process has in MLflow, if it has one yet."""
    name = quoted(flow)
    here = [f"tags.`{tag}` = '{value}'" for tag, value in process.tags().items()]
    if name is None or not here:
        return None
    mine = " and ".join([*here, f"tags.`prefect.flow_name` = {name}", "tags.`flowml.kind` = 'flow'"])
    with suppress(FlowmlError):
        if is_there():
            connection = connect()
            with explained(connection.uri):
                return next(Runs(connection.client).search(mine), None)
    return None


def summary(flow: str, state: str, run: Run | None) -> None:
    """Print how a flow run ended: its tasks by state, its metrics, both pages."""
    if run is None:
        output.say(f"Flow     {flow}: {state}; MLflow holds no run of it.")
        return
    connection = connect()
    ended_as = facts.state_of(run) if run.info.status != "RUNNING" else state
    output.say(f"Flow     {flow} / {facts.name_of(run)}: {ended_as} in {facts.took(run)}")
    tasks = counted(connection, run)
    if tasks:
        output.say(f"Runs     {', '.join(f'{count} {name}' for name, count in tasks.most_common())}")
    if metrics := facts.metrics_text(run, 12):
        output.say(f"Metrics  {metrics}")
    if "flowml.error" in run.data.tags:
        output.say(f"Error    {run.data.tags.get('flowml.error_type')}: {run.data.tags['flowml.error'][:500]}")
    for text in losses.in_tags(run.data.tags):
        output.say(f"Lost     {text}")
    for line in where(connection, run):
        output.say(line)


def counted(connection: Connection, run: Run) -> Counter[str]:
    """Count all runs below a run by their state; a superseded attempt is no outcome."""
    below = Runs(connection.client).below(run)
    return Counter(facts.state_of(one) for one in below if one.data.tags.get("flowml.superseded") != "true")
