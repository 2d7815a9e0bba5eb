"""The server: one process, or several workers that take turns at one socket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowml import settings
from flowml.errors import ServingError, SettingsError, TrackingError
from flowml.serving.application import Application, Lanes
from flowml.serving.aside import aside
from flowml.serving.files import Files, folder_of
from flowml.serving.following import Follower, shortly
from flowml.serving.monitoring.recording import Recorder
from flowml.serving.monitoring.reporting import Report
from flowml.serving.said import Said, say
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
_SHORTEST_TIME = 0.1  # seconds
_LAST_PORT = 65535
_OPTIONS = "FLOWML_SERVING_OPTIONS"
_BACKLOG = 2048
_READY, _FAILED = "ready", "failed"  # files: a process has answered; why none could
_END = 30  # seconds that requests may take when the server is ended
_IDLE = 75  # seconds that a connection may be idle: clients drop theirs before, so that none asks by a closed one
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
        shared: The folder in which the processes of one server tell each other what has happened.
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
    shared: str = ""


def serve(options: Options) -> None:
    """Serve a registered model until Ctrl-C.

    Raises:
        NoSuchVersionError: If there is no such model, version or alias.
        SettingsError: If an option cannot be.
        TrackingError: If MLflow cannot be reached, and no version was served here before.
        ServingError: If the first version cannot answer.
    """
    import uvicorn

    check(options)
    prepare(options)
    for ref in served_refs(options).values():
        check_version(ref)
    port = kept(options.host, options.port)
    url = servers.address(options.host, port.number)
    say(f"{options.ref} is going to answer at {url}/invocations, until Ctrl-C.")
    with tempfile.TemporaryDirectory(prefix="flowml-serving-") as shared, ExitStack() as stack:
        stack.callback(port.give_back)
        os.environ[_OPTIONS] = json.dumps(asdict(replace(options, shared=shared)))  # for the processes of uvicorn's
        failed = Path(shared, _FAILED)
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
                timeout_keep_alive=_IDLE,
            )
        except SystemExit:  # how uvicorn ends where the first version cannot answer, or it cannot listen, which it says
            if not failed.exists():
                raise
        if failed.exists():
            raise ServingError(failed.read_text("utf-8"))


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
    if options.token.split() not in ([], [options.token]):
        msg = "The token has white space in it, as at the end of a line, which no header can bring."
        raise SettingsError(msg, setting="token-env", value=None)
    limits = options.loading.limits
    for name, value, least, why in (
        ("workers", options.workers, 1, "one process at least is to answer"),
        ("sample", options.sample, 0, "write 1 to keep each request, 0 to keep none"),
        ("max-body", limits.body, 1, "a request has a byte at least"),
        ("timeout", limits.seconds, _SHORTEST_TIME, "no answer is that quick"),
        ("every", options.every, _SHORTEST_TIME, "MLflow would be asked without a pause"),
    ):
        if value < least:
            msg = f"--{name} cannot be {value:g}: {why}."
            raise SettingsError(msg, setting=name, value=value)
    if not 0 < options.port <= _LAST_PORT:
        msg = f"--port cannot be {options.port}: ports are numbers from 1 to {_LAST_PORT}."
        raise SettingsError(msg, setting="port", value=options.port)
    for role, ref in served_refs(options).items():
        if role != "main" and ref == options.ref:
            msg = f"{ref} is what answers already: name another version, such as {ref.model}@challenger."
            raise SettingsError(msg, setting="canary" if options.canary else "shadow", value=str(ref))


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
    main, folder = Slot(), folder_of(here, options.ref.model)
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
        try:
            await lead.begin(main)
        except Exception as error:
            _give_up(options, error)
            raise
        await aside(Path(options.shared, _READY).touch)
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
        recorder=Recorder(folder, options.sample),
        report=Report(here, options.report, folder) if options.report else None,
    )


def _give_up(options: Options, error: Exception) -> None:
    """End the server whose first version cannot answer: uvicorn would start its workers again and again."""
    if not Path(options.shared, _READY).exists():
        Path(options.shared, _FAILED).write_text(f"{options.ref} is not served: {shortly(error)}.", "utf-8")
        if options.workers > 1:
            os.kill(os.getppid(), signal.SIGTERM)


def _follower(here: Connection, options: Options, ref: ModelRef) -> Follower[Served]:
    return Follower(
        Files(here, ref),
        partial(start, loading=options.loading),
        say=Said(Path(options.shared) if options.workers > 1 else None, str(ref)),
        every=options.every,
    )
