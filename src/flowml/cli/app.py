"""The command ``flowml``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version

import cyclopts

from flowml.cli import deployments, listeners, local_servers, models, reproducing, runs, serving, tuning, upkeep

GROUPS = {
    "Runs": runs.app,
    "Registered models": models.app,
    "Serving": serving.app,
    "Searches": tuning.app,
    "Servers on this machine": local_servers.app,
    "Deployments": deployments.app,
    "What starts deployments": listeners.app,
    "Runs again": reproducing.app,
    "Upkeep": upkeep.app,
}

app = cyclopts.App(
    name="flowml",
    help="Prefect flows and tasks that track themselves in MLflow.",
    version=version("prefect-flowml"),
    version_flags=["--version"],
    default_parameter=cyclopts.Parameter(negative_bool=()),  # what is off by default needs no word to be off
)
for place, (title, commands) in enumerate(GROUPS.items()):
    group = cyclopts.Group(title, sort_key=place)
    for name in commands:
        if not name.startswith("-"):
            commands[name].group = group
    app.update(commands)
app["--help"].group = app["--version"].group = cyclopts.Group("Options", sort_key=len(GROUPS))


def main(words: Sequence[str] | None = None) -> None:
    """Do what was typed; a word that cannot be is answered as everything else that cannot be done.

    Args:
        words: The words after ``flowml``. Default: those that were typed.

    Raises:
        SystemExit: With the exit code.
    """
    try:
        app(words, print_error=False, exit_on_error=False)
    except cyclopts.CycloptsError as error:
        sys.stderr.write(f"flowml: {error} Look at `flowml --help`.\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
