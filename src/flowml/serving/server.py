"""The server: one process, or several workers that take turns at one socket."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from flowml import settings
from flowml.errors import SettingsError, TrackingError
from flowml.serving.application import Application, Lanes
from flowml.serving.files import Files
from flowml.serving.following import Follower
from flowml.serving.recording import Recorder
from flowml.serving.reporting import Report
from flowml.serving.slots import Role, Slot, canary_of
from flowml.serving.versions import Limits, Loading, Served, start
from flowml.stack import ports, servers
from flowml.stack.ports import Port
from flowml.store.backend import connection, imports
from flowml.store.backend.failures import explained
from flowml.store.registered import ModelRef, find, parse

if TYPE_CHECKING:
    from flowml.store.backend.connection import Connection

_SHORTEST = 16  # characters of a token
_OPTIONS = "FLOWML_SERVING_OPTIONS"
_BACKLOG = 2048
_END = 30  # seconds that requests may take when the server is ended
_QUICK = {  # of MLflow's client, which would try for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@dataclass(frozen=True, slots=True)
class Options:
    """How a registered model is served.

    Attributes:
        ref: Which version.
        host: The address to listen on.
        port: The first port to try.
        workers: How many processes answer.
        token: What requests must bring; empty for nothing.
        loading: How versions are loaded.
        canary: A version that gets a share of the requests: ``churn@challenger:5%``; empty for none.
        canary_by: The header that decides which requests; empty for chance.
        shadow: A version that is asked beside, and never answers; empty for none.
        report: Seconds between two times that MLflow is told what each version did; 0: never.
        sample: Every how many requests one is kept; 0: none.
        every: Seconds between two looks at the alias.
    """

    ref: ModelRef
    host: str = "127.0.0.1"
    port: int = 5001
    workers: int = 1
    token: str = field(default="", repr=False)
    loading: Loading = field(default_factory=Loading)
    canary: str = ""
    canary_by: str = ""
    shadow: str = ""
    report: float = 0.0
    sample: int = 100
    every: float = 2.0


def serve(options: Options) -> None:
    """Serve a registered model until Ctrl-C.

    Raises:
        NoSuchVersionError: If there is no such model, version or alias.
        SettingsError: If an option cannot be.
        TrackingError: If MLflow cannot be reached, and no version was served here before.
    """
    import uvicorn

    check(options)
    prepare(options)
    for ref in served_refs(options).values():
        check_version(ref)
    port = kept(options.host, options.port)
    url = servers.address(options.host, port.number)
    say(f"{options.ref} is going to answer at {url}/invocations, until Ctrl-C.")
    os.environ[_OPTIONS] = json.dumps(asdict(options))  # the workers are processes of uvicorn's
    try:
        uvicorn.run(
            f"{__name__}:application",
            factory=True,
            host=options.host,
            port=port.number,
            workers=options.workers,
            backlog=_BACKLOG,
            log_level="warning",
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=_END,
        )
    finally:
        port.give_back()


def check(options: Options) -> None:
    """Refuse options that cannot be.

    Raises:
        SettingsError: If one cannot.
    """
    if not servers.is_local(options.host) and not options.token:
        msg = (
            f"Whoever reaches {options.host} could ask the model. Name an environment variable with a token that "
            "requests must bring: --token-env NAME."
        )
        raise SettingsError(msg, setting="host", value=options.host)
    if options.token and len(options.token) < _SHORTEST:
        msg = f"The token has {len(options.token)} characters, and takes {_SHORTEST} or more. "
        msg += 'Make one: python -c "import secrets; print(secrets.token_urlsafe(32))"'
        raise SettingsError(msg, setting="token-env", value=None)
    if options.workers < 1:
        msg = f"--workers cannot be {options.workers}: one process at least is to answer."
        raise SettingsError(msg, setting="workers", value=options.workers)


def prepare(options: Options) -> None:
    """Set MLflow up in this process."""
    for name, value in _QUICK.items():
        os.environ.setdefault(name, value)
    os.environ["MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT"] = str(max(1, round(options.loading.limits.seconds)))
    # What a version's files are is looked at before it is loaded (versions.py); MLflow would refuse skops, too.
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "true"
    imports.load_registry()
    connection.connect(may_be_away=True)  # which plain MLflow, and so a model that is loaded, goes to as well


def served_refs(options: Options) -> dict[Role, ModelRef]:
    """Return what is served: what answers, and what is tried beside."""
    refs: dict[Role, ModelRef] = {"main": options.ref}
    if options.canary:
        refs["canary"] = canary_of(options.canary).ref
    if options.shadow:
        refs["shadow"] = parse(options.shadow)
    return refs


def check_version(ref: ModelRef) -> None:
    """Check that there is such a version; where MLflow is away, that one was served here before."""
    here = connection.connect(may_be_away=True)
    try:
        with explained(here.uri):
            find(here.client, ref)
    except TrackingError:
        if Files(here, ref).last() is None:
            raise


def kept(host: str, first: int) -> Port:
    """Keep a free port, for no other server of flowml's to take it before this one listens.

    Raises:
        SettingsError: If there is none.
    """
    port = ports.keep_next(host, first)
    if port is None:
        msg = f"There is no free port of {host} from {first} on; is it an address of this machine?"
        raise SettingsError(msg, setting="port", value=first)
    if port.number != first:
        say(f"Port {first} is taken: taking {port.number}.")
    return port


def options_of(told: dict[str, Any]) -> Options:
    """Return the options that another process was given, from what ``asdict`` made of them."""
    loading = told["loading"]
    made = {"ref": ModelRef(**told["ref"]), "loading": Loading(**{**loading, "limits": Limits(**loading["limits"])})}
    return Options(**{**told, **made})


def application() -> Application:
    """Make what answers, in each worker."""
    options = options_of(json.loads(settings.from_environment(_OPTIONS)))
    prepare(options)
    here = connection.connect(may_be_away=True)
    main = Slot()
    lead = _follower(here, options, options.ref)
    beside = list[tuple[Follower[Served], Slot]]()
    canary = shadow = None
    if options.canary:
        wanted = canary_of(options.canary, options.canary_by)
        canary = wanted, Slot()
        beside.append((_follower(here, options, wanted.ref), canary[1]))
    if options.shadow:
        shadow = Slot()
        beside.append((_follower(here, options, parse(options.shadow)), shadow))

    async def begin() -> None:
        await lead.begin(main)
        for follower, slot in beside:
            await follower.begin_beside(slot)

    async def end() -> None:
        await asyncio.gather(lead.end(), *(follower.end() for follower, _ in beside))

    return Application(
        Lanes(main, canary, shadow),
        options.loading.limits,
        token=options.token,
        begin=begin,
        end=end,
        recorder=Recorder(Files(here, options.ref).folder, options.sample),
        report=Report(here, options.report) if options.report else None,
    )


def _follower(here: Connection, options: Options, ref: ModelRef) -> Follower[Served]:
    return Follower(Files(here, ref), partial(start, loading=options.loading), say=say, every=options.every)


def say(line: str) -> None:
    """Tell whoever runs the server."""
    sys.stdout.write(f"flowml: {line}\n")
    sys.stdout.flush()
