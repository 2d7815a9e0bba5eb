"""The commands that look at runs and start them, as they are typed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from flowml.cli.exit_codes import exit_on_error

app = cyclopts.App()


@app.command
def runs(*, flow: str | None = None, last: int = 20, subflows: bool = False, json: bool = False) -> None:
    """List flow runs, newest first, one line each: name, flow, state, start, duration, metrics, both pages.

    For example:

        flowml runs --flow training --last 5
        flowml runs --json | jq -r '.[0].mlflow_url'

    Args:
        flow: Only those of this flow.
        last: How many at most.
        subflows: Also those that other flows called.
        json: Print JSON.
    """
    from flowml.ops.view.listing import listing

    with exit_on_error():
        if last < 1:
            msg = f"--last cannot be {last}: it is how many runs are listed, 1 or more."
            raise LookupError(msg)
        listing(flow, last=last, subflows=subflows, as_json=json)


@app.command
def show(run: str, /, *, json: bool = False) -> None:
    """Show a run and all below it as a tree: states, durations, attempts, metrics; and both pages.

    For example:

        flowml show training          its newest run
        flowml show dancing-otter
        flowml show 3f2a              the beginning of an id

    Args:
        run: An id in Prefect or MLflow, the beginning of one, a run's name, or a flow's; of several with a name the
            newest.
        json: Print JSON.
    """
    from flowml.ops.view.show import show

    with exit_on_error():
        show(run, as_json=json)


@app.command(name="open")
def browse(
    run: str | None = None,
    /,
    *,
    where: Annotated[Literal["mlflow", "prefect"], cyclopts.Parameter(name="--in")] = "mlflow",
) -> None:
    """Open a run's page in the browser, or the table of flow runs, and print its address.

    For example:

        flowml open                   all flow runs
        flowml open training
        flowml open dancing-otter --in prefect

    Args:
        run: As `flowml show` takes it. Default: the flow runs of the experiment that had the newest one.
        where: In which UI.
    """
    from flowml.ops.view.browse import browse

    with exit_on_error():
        browse(run, where=where)


@app.command
def compare(*runs: str, diff: bool = False, json: bool = False) -> None:
    """Compare params and metrics of runs side by side; * marks what differs.

    For example:

        flowml compare dancing-otter brave-lynx --diff

    Args:
        runs: Two or more, each as `flowml show` takes it.
        diff: Only what differs.
        json: Print JSON.
    """
    from flowml.ops.view.compare import compare

    with exit_on_error():
        compare(runs, diff=diff, as_json=json)


@app.command
def run(
    flow: str,
    /,
    *,
    param: Annotated[tuple[str, ...], cyclopts.Parameter(name=["--param", "-p"], negative="")] = (),
    parameters: Path | None = None,
    outcome: Path | None = None,
    watch: bool = False,
) -> None:
    """Run a flow, and say at its end how it went; ends with 0 if it completed, else with 1.

    For example:

        flowml run flows/train.py
        flowml run flows/train.py:training --param target=label --watch
        flowml run flows/hello.py --param 'names=["Ada", "Grace"]'
        flowml run flows/train.py --parameters today.json --outcome outcome.json    for another program

    Args:
        flow: path.py:name or package.module:name; without a name, the only flow that is defined there.
        param: One of its parameters, as name=value; text of the declared type, or JSON. May be repeated.
        parameters: A file with parameters, as a JSON object. One that --param names counts more.
        outcome: A file that is told the state, the result as JSON, and both pages. SIGTERM cancels the flow then.
        watch: In a terminal, show its tasks while it runs.
    """
    from flowml.ops.launch.start import Order, run

    with exit_on_error():
        sys.exit(0 if run(flow, param, Order(watch=watch, parameters=parameters, outcome=outcome)) else 1)
