"""The command ``flowml``."""

from __future__ import annotations

import sys
from importlib.metadata import version

import cyclopts

app = cyclopts.App(
    name="flowml",
    help="Prefect flows and tasks that track themselves in MLflow.",
    version=version("prefect-flowml"),
    version_flags=["--version"],
)


@app.command
def show(flow: str, /) -> None:
    """Show the latest run of a flow: each of its runs, its metrics, and where to look further.

    Args:
        flow: The flow's name in Prefect.
    """
    from flowml import ops
    from flowml.errors import FlowmlError

    try:
        ops.show(flow)
    except (LookupError, FlowmlError) as error:
        sys.stderr.write(f"flowml: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    app()
