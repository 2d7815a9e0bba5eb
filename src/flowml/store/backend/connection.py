"""One MLflow store, and the client that reaches it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from math import ceil
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit
from weakref import WeakSet

from flowml import records, settings
from flowml.errors import TrackingError
from flowml.locks import RLock
from flowml.patches import mlflow as patches
from flowml.secrets import mask
from flowml.secrets.uris import without_credentials
from flowml.stack import state
from flowml.storable import clean
from flowml.store.backend import embedded, imports, in_force, offline, requests, urls
from flowml.store.backend.failures import explain, explained

if TYPE_CHECKING:
    from mlflow import MlflowClient

_connections: WeakSet[Connection] = WeakSet()
_of_the_parent: list[object] = []  # what a forked child leaves alone
_KNOCK = 3.0  # seconds that a server or database may take to accept a connection
_WITH_LIMIT = {"psycopg2", "psycopg", "pymysql", "mysqldb"}  # drivers that take it in the URI
_AWAY = 30.0  # seconds, before a flow that begins asks again for one that did not
_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # of new experiments: MLflow's UI is not to guess
_DELETED = "the MLflow experiment {!r} was deleted."


def _restore(experiment_id: str) -> str:
    return f"Restore it with `mlflow experiments restore --experiment-id {experiment_id}`"


class Connection:
    """One MLflow store, as one client sees it.

    Attributes:
        uri: The tracking URI.
        registry_uri: The model registry's, if it is another.
    """

    def __init__(self, uri: str, registry_uri: str | None) -> None:
        self.uri = uri
        self.registry_uri = registry_uri
        self._client: MlflowClient | None = None
        self._engine: Any = None  # SQLAlchemy's, of a database
        self._making = RLock()
        self._away_until = 0.0
        self._experiments: dict[str, str] = {}
        _connections.add(self)

    @property
    def client(self) -> MlflowClient:
        """MLflow's client; a database is connected to when it is first asked for.

        Raises:
            Exception: What MLflow raises, or the network.
        """
        with self._making:
            if self._client is None:
                from mlflow import MlflowClient

                check_reachable(self.uri)
                client = MlflowClient(tracking_uri=self.uri, registry_uri=self.registry_uri)
                _hush(client)
                self._engine = getattr(getattr(patches.CLIENTS_STORE.of(client), "store", None), "engine", None)
                self._client = client
            return self._client

    def caller(
        self, info: records.CurrentRun | None, children: records.Children, delay_key: str | None = None
    ) -> records.Caller:
        """Return what calls in other processes need to hang under a run.

        Args:
            info: The run; None if it is not known yet.
            children: Which of the calls in it get runs.
            delay_key: The key of the outermost run above it.
        """
        registry_uri = without_credentials(self.registry_uri) if self.registry_uri else None
        return records.Caller(info, without_credentials(self.uri), registry_uri, children=children, delay_key=delay_key)

    def begin_anew(self) -> None:
        """Let a forked child open connections of its own: SQLite's must not be carried across a fork."""
        if self._engine is not None:
            _of_the_parent.append(self._engine.pool)  # were it let go it would be closed, which is the parent's to do
            self._engine.dispose(close=False)

    def check(self, *, may_be_away: bool = False) -> None:
        """Make sure that it could be reached once.

        Args:
            may_be_away: Whether it is no error that it cannot be reached now; then it is not asked again for a while.

        Raises:
            TrackingError: If it cannot be reached or the URI makes no sense.
        """
        is_tolerated = may_be_away and settings.current().journal
        if is_tolerated and time.monotonic() < self._away_until:
            return
        try:
            with explained(self.uri):
                _ = self.client
        except TrackingError as problem:
            if not (is_tolerated and problem.waits):
                raise
            self._away_until = time.monotonic() + _AWAY

    @cached_property
    def place(self) -> Mapping[str, Any]:
        """Which store it is, without credentials, for a journal; and whether it goes where the project goes."""
        registry = without_credentials(self.registry_uri) if self.registry_uri else None
        return {"uri": without_credentials(self.uri), "registry": registry, "is_own": embedded.is_embedded(self.uri)}

    def experiment_id(self, name: str) -> str:
        """Return the experiment of this name, creating it when there is none.

        Raises:
            TrackingError: If it was deleted.
            Exception: What MLflow raises when it fails.
        """
        name = clean(name)
        if name not in self._experiments:
            self._experiments[name] = self._get_or_create(name)
        return self._experiments[name]

    def _get_or_create(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                artifacts = embedded.artifacts(self.uri, name)
                tags = {**_TAGS, **self._meant()}
                return self.client.create_experiment(name, artifact_location=artifacts, tags=tags)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self.client.get_experiment_by_name(name)  # another process was faster
        if found is None or found.lifecycle_stage == "deleted":
            restore = _restore(found.experiment_id if found else "?")
            remedy = f"{restore}, or choose another: Track(experiment=...) or FLOWML_EXPERIMENT."
            raise TrackingError(_DELETED.format(name), uri=mask(self.uri), remedy=remedy)
        for tag, value in offline.with_earlier(self._meant(), found.tags).items():
            if found.tags.get(tag) != value:
                self.client.set_experiment_tag(found.experiment_id, tag, value)
        return str(found.experiment_id)

    def _meant(self) -> Mapping[str, str]:
        """Return the tags that say where the runs of an experiment are meant to be, if they stay offline first."""
        return offline.meant() if self.uri == offline.uri() else {}

    def page_of(self, experiment_id: str, run_id: str) -> str | None:
        """Return the address of a run's page in MLflow's UI, or None when no server is known."""
        return page_of(self.uri, experiment_id, run_id)


def deleted_experiment(client: MlflowClient, experiment_id: str) -> TrackingError | None:
    """Return what is said of an experiment that was deleted, and may be restored; None of another.

    Raises:
        Exception: What MLflow raises.
    """
    found = client.get_experiment(experiment_id)
    if found.lifecycle_stage != "deleted":
        return None
    remedy = f"{_restore(experiment_id)}: what waits is sent then."
    return TrackingError(_DELETED.format(found.name), uri=mask(client.tracking_uri), remedy=remedy, waits=True)


Reached: TypeAlias = "Connection | TrackingError"
Reach: TypeAlias = "Callable[[], Reached]"


def page_of(uri: str, experiment_id: str, run_id: str) -> str | None:
    """Return the address of a run's page in MLflow's UI, or None when no server is known."""
    ui = ui_of(uri)
    return urls.under(ui, urls.of_run(experiment_id, run_id)) if ui else None


def ui_of(uri: str) -> str | None:
    """Return where people open this store: as the settings say, itself if it is a server, or the local server."""
    stack = state.up()
    if uri == offline.uri():
        return None  # that of the store which its runs are meant for does not have them
    if wanted := settings.current().mlflow_ui_url:
        return without_credentials(wanted)
    if uri.startswith("http"):
        return without_credentials(uri)
    return stack.mlflow.url if stack and stack.database == uri and stack.mlflow.is_alive() else None


def _hush(client: MlflowClient) -> None:
    """Keep MLflow from printing a line for each closed run, with the server's address and the password in it."""
    # MLflow itself can be told so only for the whole process.
    patches.LOG_URL.replace_on(patches.CLIENTS_STORE.of(client), lambda _: None)


def connect(uri: str | None = None, registry_uri: str | None = None, *, may_be_away: bool = False) -> Connection:
    """Return the connection to an MLflow, and point plain ``mlflow.*`` calls at it too.

    Args:
        uri: The tracking URI that a caller in another process told, without credentials. Default: that in force here.
        registry_uri: The registry's, if it is another.
        may_be_away: Whether it is no error that it cannot be reached now: what is logged waits in the journal.

    Returns:
        The connection; each store has one in a process.

    Raises:
        TrackingError: If it cannot be reached or the URI makes no sense.
    """
    own, own_registry = in_force.uris()
    if offline.is_on():
        return _connect_offline(own)
    offline.release()
    if uri is None or uri == without_credentials(own):
        uri, registry_uri = own, own_registry  # with the credentials that are known here
    connection = _connection(uri, registry_uri)
    connection.check(may_be_away=may_be_away)
    in_force.tell_mlflow(uri, registry_uri)
    return connection


def _connect_offline(uri: str) -> Connection:
    """Return the connection to the offline store, whatever a caller in another process told."""
    connection = _connection(uri, uri)
    in_force.hold_offline()
    return connection


def apart(uri: str, registry_uri: str | None = None) -> Connection:
    """Return the connection to an MLflow that plain ``mlflow.*`` calls do not go to.

    Raises:
        TrackingError: If it cannot be reached or the URI makes no sense.
    """
    connection = _connection(uri, registry_uri)
    connection.check()
    return connection


def load() -> None:
    """Import what connecting to the store in force here needs, and sending to it."""
    imports.load(in_force.tracking_uri())


def reaching() -> Reach:
    """Return what connects to the store in force here; it imports nothing, and may be called in another thread.

    What it returns is the connection, or why there is none.
    """
    uri, registry_uri = in_force.uris()
    imports.load(uri)

    def reach() -> Reached:
        try:
            connection = _connection(uri, registry_uri)
            connection.check(may_be_away=True)
        except TrackingError as problem:
            return problem
        return connection

    return reach


@cache
def _connection(uri: str, registry_uri: str | None) -> Connection:
    imports.load(uri)
    with embedded.room_for_threads(uri):
        with explained(uri):
            if uri.startswith("sqlite:///"):
                embedded.tune(uri)
            if embedded.is_embedded(uri):
                embedded.prepare(uri)
            requests.install()
        return Connection(uri, registry_uri)


def check_reachable(uri: str) -> None:
    """Knock once, for a few seconds: MLflow's own first call to a dead server or database blocks for minutes.

    Raises:
        TrackingError: If the URI of a server makes no sense.
        Exception: What the network raises, or the database.
    """
    if uri.startswith(("http://", "https://")):
        _knock(uri)
    elif imports.is_database(uri) and not uri.startswith("sqlite"):
        _log_in(uri)


def _knock(uri: str) -> None:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise explain(uri, ValueError(str(error))) from None  # whoever wrote the address is at fault, not this line
    if not host:
        raise explain(uri, ValueError("the URI names no host"))
    with socket.create_connection((host, port), timeout=min(_KNOCK, settings.current().timeout)):
        pass


def _log_in(uri: str) -> None:
    """Connect to a database as MLflow does, but not ten times with two minutes of pauses, and not without a limit."""
    from mlflow.store.db.utils import create_sqlalchemy_engine
    from sqlalchemy import make_url

    url = make_url(uri)
    if url.get_driver_name() in _WITH_LIMIT and "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": str(ceil(min(_KNOCK, settings.current().timeout)))})
    engine = create_sqlalchemy_engine(url.render_as_string(hide_password=False))
    try:
        with engine.connect():
            pass
    finally:
        engine.dispose()


def _begin_anew() -> None:
    _connection.cache_clear()
    for connection in list(_connections):
        connection.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
