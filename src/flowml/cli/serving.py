"""The commands that let registered models answer requests, as they are typed."""

from __future__ import annotations

from typing import Literal

import cyclopts

from flowml.cli.durations import Duration
from flowml.cli.exit_codes import exit_on_error

app = cyclopts.App()


@app.command
def serve_model(  # noqa: PLR0913 - options of a command, each by its name
    model: str,
    /,
    *,
    port: int = 5001,
    host: str = "127.0.0.1",
    workers: int = 1,
    token_env: str = "",
    env_manager: Literal["uv", "local"] = "uv",
    allow_pickle: bool = False,
    canary: str = "",
    canary_by: str = "",
    shadow: str = "",
    report: Duration | None = None,
    sample: int = 100,
    max_body: int = 100_000_000,
    timeout: Duration = 60.0,
    every: Duration = 2.0,
) -> None:
    """Answer requests by a registered model, by whichever version has the alias, until Ctrl-C.

    The address takes what `mlflow models serve` takes, at /invocations, /ping, /health and /version. After a promotion
    the new version answers its own input example first, and then all new requests; none is lost.

    For example:

        flowml serve-model churn@champion
        flowml serve-model churn/7 --port 5010 --workers 2
        flowml serve-model churn@champion --canary churn@challenger:5%
        flowml serve-model churn@champion --shadow churn@challenger

    Args:
        model: A registered model with an alias, `churn@champion`, or with a version, `churn/7`.
        port: The port to listen on; where it is taken, the next free one.
        host: The address to listen on. Another than this machine's own takes --token-env.
        workers: How many processes answer.
        token_env: The environment variable with the token that requests must bring, as `Authorization: Bearer ...`.
        env_manager: Where a version asks for other packages than those here: make it an environment of its own by uv,
            or load it with those that are here.
        allow_pickle: Load models that are saved by pickle, which runs whatever the file says.
        canary: A version that gets a share of the requests, `churn@challenger:5%`.
        canary_by: The header whose value decides which requests the canary gets, such as `X-User`. Default: chance.
        shadow: A version that is asked everything too, and never answers; both answers are kept.
        report: How often MLflow is told what each version did. Default: each minute with --canary or --shadow, else
            never.
        sample: Keep every n-th request and its answer, as Parquet files in `serving` in .flowml; 0: none.
        max_body: The most bytes that a request may have.
        timeout: How long an answer may take.
        every: How often MLflow is asked for the alias.
    """
    with exit_on_error():
        from flowml import settings
        from flowml.errors import SettingsError
        from flowml.ops.runs import check_there
        from flowml.serving.server import Options, serve
        from flowml.serving.versions import Limits, Loading
        from flowml.store.registered import parse

        token = settings.from_environment(token_env) if token_env else ""
        if token_env and not token:
            msg = f"The environment variable {token_env} is to hold the token, and is not set."
            raise SettingsError(msg, setting="token-env", value=token_env)
        ref = parse(model)
        check_there()
        serve(
            Options(
                ref,
                host=host,
                port=port,
                workers=workers,
                token=token,
                loading=Loading(Limits(max_body, timeout), own_environment=env_manager == "uv", pickle=allow_pickle),
                canary=canary,
                canary_by=canary_by,
                shadow=shadow,
                report=(60.0 if canary or shadow else 0.0) if report is None else report,
                sample=sample,
                every=every,
            )
        )
