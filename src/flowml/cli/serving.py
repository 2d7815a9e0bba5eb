"""The commands that let registered models answer requests, as they are typed."""

from __future__ import annotations

import sys
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
    workers: int | None = None,
    engine: Literal["uvicorn", "ray"] = "uvicorn",
    replicas: str | None = None,
    export: Literal["kserve"] | None = None,
    storage_uri: str = "",
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
        flowml serve-model churn@champion --engine ray --replicas 2:10
        flowml serve-model churn@champion --export kserve > churn.yaml

    Args:
        model: A registered model with an alias, `churn@champion`, or with a version, `churn/7`.
        port: The port to listen on; where it is taken, the next free one.
        host: The address to listen on. Another than this machine's own takes --token-env.
        workers: How many processes answer. Default: one.
        engine: What the processes run on: `uvicorn` on this machine, or `ray`, Ray Serve on the Ray that RAY_ADDRESS
            names, or on one that is started here.
        replicas: With --engine ray or --export, how many processes answer, `2`, or the fewest and the most,
            `2:10`. Default: one.
        export: Serve nothing, and write the version that the alias has now as an InferenceService of KServe.
        storage_uri: With --export, where the cluster finds the version's files, `s3://bucket/folder`. Default: where
            MLflow keeps them.
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
        from flowml.serving.engines.counts import count_of
        from flowml.serving.server import Options, serve
        from flowml.serving.versions import Limits, Loading
        from flowml.store.registered import parse

        token = settings.from_environment(token_env) if token_env else ""
        if token_env and not token:
            msg = f"The environment variable {token_env} is to hold the token, and is not set."
            raise SettingsError(msg, setting="token-env", value=token_env)
        _check_fits(engine, workers, replicas, export, storage_uri)
        count = count_of("1" if replicas is None else replicas)
        ref = parse(model)
        check_there()
        options = Options(
            ref,
            host=host,
            port=port,
            workers=1 if workers is None else workers,
            token=token,
            loading=Loading(Limits(max_body, timeout), own_environment=env_manager == "uv", pickle=allow_pickle),
            canary=canary,
            canary_by=canary_by,
            shadow=shadow,
            report=(60.0 if canary or shadow else 0.0) if report is None else report,
            sample=sample,
            every=every,
        )
        if export:
            from flowml.serving.engines import kserve

            sys.stdout.write(kserve.export(options, count, storage_uri))
        elif engine == "ray":
            from flowml.serving.engines import ray

            ray.serve(options, count)
        else:
            serve(options)


def _check_fits(engine: str, workers: int | None, replicas: str | None, export: str | None, storage_uri: str) -> None:
    """Refuse an option that says nothing to what is asked for.

    Raises:
        SettingsError: If there is one.
    """
    from flowml.errors import SettingsError

    is_cluster = engine == "ray" or export is not None
    if is_cluster and workers is not None:
        msg = f"--workers {workers} is for one machine. On a cluster say how many by --replicas {workers}."
        raise SettingsError(msg, setting="workers", value=workers)
    if replicas is not None and not is_cluster:
        msg = f"--replicas {replicas} is for --engine ray and --export. On one machine say how many by --workers."
        raise SettingsError(msg, setting="replicas", value=replicas)
    if storage_uri and not export:
        msg = f"--storage-uri {storage_uri} is for --export: it says where a cluster finds the version's files."
        raise SettingsError(msg, setting="storage-uri", value=storage_uri)
