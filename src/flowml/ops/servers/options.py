"""What the local servers are given: the options of ``flowml up`` over the settings over the defaults."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from flowml import settings
from flowml.errors import SettingsError
from flowml.secrets import mask
from flowml.stack import ports, servers
from flowml.stack.ports import Port
from flowml.store.backend import embedded

_FIRST = {"prefect": 4200, "mlflow": 5000}
_DATABASES = ("sqlite:", "postgres", "mysql", "mssql")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options of ``flowml up`` ask for; None leaves it to the settings, and they to the defaults."""

    prefect_db: str | None = None
    mlflow_db: str | None = None
    artifacts: str | None = None
    host: str | None = None
    prefect_port: int | None = None
    mlflow_port: int | None = None

    def options(self) -> list[str]:
        """Return the options that were given, as they are typed."""
        given = [field.name for field in fields(self) if getattr(self, field.name) is not None]
        return [f"--{name.replace('_', '-')}" for name in given]


@dataclass(frozen=True, slots=True)
class Choice:
    """What the servers are given.

    Attributes:
        home: The folder that everything else is under.
        host: The address to listen on.
        prefect_port: Prefect's port.
        mlflow_port: MLflow's port.
        prefect_db: Prefect's database.
        mlflow_db: MLflow's database.
        artifacts: The folder or bucket of MLflow's artifacts.
        kept: Both ports, kept from others until the servers listen.
    """

    home: Path
    host: str
    prefect_port: int
    mlflow_port: int
    prefect_db: str
    mlflow_db: str
    artifacts: str
    kept: tuple[Port, ...]


def choose(wanted: Wanted, say: Say) -> Choice:
    """Choose what the servers are given.

    Args:
        wanted: What the options ask for.
        say: Takes news for the user.

    Raises:
        SettingsError: If an option or setting cannot be.
    """
    configured = settings.current()
    host = wanted.host or configured.host
    prefect_db, mlflow_db = _prefect_database(wanted.prefect_db), _mlflow_database(wanted.mlflow_db, say)
    prefect = _port("prefect", host, wanted.prefect_port or configured.prefect_port, say, but=set())
    mlflow = _port("mlflow", host, wanted.mlflow_port or configured.mlflow_port, say, but={prefect.number})
    return Choice(
        home=settings.home_folder(),
        host=host,
        prefect_port=prefect.number,
        mlflow_port=mlflow.number,
        prefect_db=prefect_db,
        mlflow_db=mlflow_db,
        artifacts=embedded.artifact_root(wanted.artifacts),
        kept=(prefect, mlflow),
    )


def make_folder() -> Path:
    """Make the folder that everything is under.

    Raises:
        SettingsError: If that cannot be.
    """
    home = settings.home_folder()
    try:
        home.mkdir(parents=True, exist_ok=True)
        embedded.ignore_in_git(home)
        if not os.access(home, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        msg = f"The folder {home} cannot be written: {error.strerror}. Choose another: FLOWML_HOME=..."
        raise SettingsError(msg, setting="home", value=str(home)) from None
    return home


def _mlflow_database(wanted: str | None, say: Say) -> str:
    """Choose what MLflow shows: the option, what flows were told if it is a database, the embedded store."""
    flows_use = settings.resolved(settings.current().tracking_uri) or os.environ.get("MLFLOW_TRACKING_URI")
    if flows_use and flows_use.startswith(_DATABASES):
        flows_use = _database(flows_use, Path.cwd())
    chosen = _database(wanted, Path.cwd()) if wanted else flows_use
    if wanted and not str(chosen).startswith(_DATABASES):
        msg = (
            f"--mlflow-db cannot be {mask(wanted)!r}: it is a file, or a database such as postgresql://user@host/name."
        )
        raise SettingsError(msg, setting="mlflow_db", value=mask(wanted))
    if not chosen or not chosen.startswith(_DATABASES):
        chosen = embedded.default_uri()
    if flows_use and flows_use != chosen:
        say(f"Flows do not write to the database of this MLflow server: they are told to use {mask(flows_use)}.")
    check(chosen, "MLflow", "mlflow_db")
    return chosen


def _prefect_database(wanted: str | None) -> str:
    configured = settings.current().prefect_db or str(settings.home_folder() / "prefect" / "prefect.db")
    chosen = _database(wanted, Path.cwd()) if wanted else _database(configured, settings.project_folder())
    check(servers.asynchronous(chosen), "Prefect", "prefect_db")
    return chosen


def _database(written: str, folder: Path) -> str:
    """Make a database's URI of a URI or a file's path; a file's is absolute."""
    if "://" not in written:
        written = f"sqlite:///{Path(written).expanduser()}"
    scheme, _, rest = written.partition("://")
    if scheme == "sqlite":
        return f"sqlite:///{(folder / rest[1:]).resolve()}"
    return f"postgresql://{rest}" if scheme == "postgres" else written


def _port(name: str, host: str, wanted: int | None, say: Say, *, but: set[int]) -> Port:
    """Keep the port that was asked for, or the next free one.

    Raises:
        SettingsError: If it is taken, or none is free.
    """
    setting = f"{name}_port"
    if wanted:
        kept = None if wanted in but else ports.keep(host, wanted)
        if kept is None:
            msg = f"Port {wanted} of {host} cannot be had for the {name} server: something else listens there, or "
            msg += f"{host} is no address of this machine. Choose another --{name}-port, or leave it out."
            raise SettingsError(msg, setting=setting, value=wanted)
        return kept
    first = _FIRST[name]
    port = ports.keep_next(host, first, but=but)
    if port is None:
        msg = (
            f"There is no free port of {host} for the {name} server from {first} on; is it an address of this machine?"
        )
        raise SettingsError(msg, setting=setting, value=None)
    if port.number != first:
        say(f"Port {first} is taken: the {name} server takes {port.number}.")
    return port


_PATIENCE = 5.0  # seconds to connect; MLflow's server tries for minutes
_PACKAGES = {  # where the name is not the module's
    "psycopg2": "psycopg2-binary",
    "psycopg": "'psycopg[binary]'",
    "MySQLdb": "mysqlclient",
}


def check(uri: str, server: str, setting: str) -> None:
    """Refuse a database that a server could not open.

    Args:
        uri: The database; a file is there or is made.
        server: Whose it is, as people call it.
        setting: The setting that names it.

    Raises:
        SettingsError: If SQLAlchemy cannot have it.

    Example:
        >>> check("sqlite:////tmp/runs.db", "MLflow", "mlflow_db")
    """
    if uri.startswith("sqlite"):
        return
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(uri)
        url.get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        package = _PACKAGES.get(str(error.name), error.name)
        msg = f"{server} needs the package {error.name} for the database {mask(uri)}. Install it: pip install {package}"
        raise SettingsError(msg, setting=setting, value=mask(uri)) from None
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        msg = f"{server}'s database cannot be {mask(uri)}: {error}"
        raise SettingsError(msg, setting=setting, value=mask(uri)) from None
    if url.host and url.port:
        _knock(url.host, url.port, server, setting)


def _knock(host: str, port: int, server: str, setting: str) -> None:
    try:
        socket.create_connection((host, port), timeout=_PATIENCE).close()
    except OSError as error:
        reason = error.strerror or str(error)
        msg = f"{server}'s database at {host}:{port} does not answer: {reason}. Start it, or name another."
        raise SettingsError(msg, setting=setting, value=f"{host}:{port}") from None
