"""The commands about searches for parameters, as they are typed."""

from __future__ import annotations

import cyclopts

from flowml.cli.exit_codes import exit_on_error

app = cyclopts.App()
tune = cyclopts.App(name="tune", help="Look at searches for parameters.")
app.command(tune)


@tune.command
def show(study: str, /, *, storage: str | None = None, last: int = 20, json: bool = False) -> None:
    """Show the trials of a study, the best first.

    For example:

        flowml tune show churn-lr
        flowml tune show churn-lr --storage env:STUDIES --json

    Args:
        study: The study's name, as in `flowml.tune(..., name="churn-lr")`.
        storage: The database that it is in; env:NAME takes it from the environment. Default: a file of this project.
        last: How many trials at most.
        json: Print JSON: all trials, with how many ended how.
    """
    from flowml.ops.view.tuning import show

    with exit_on_error():
        show(study, storage=storage, most=last, as_json=json)
