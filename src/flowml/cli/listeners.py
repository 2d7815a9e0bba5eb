"""The commands that listen, and tell Prefect what happens, as they are typed."""

from __future__ import annotations

import sys

import cyclopts

from flowml.cli.durations import Duration
from flowml.cli.exit_codes import exit_on_error

app = cyclopts.App()


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
