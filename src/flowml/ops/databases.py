"""Whether a database can be had: its driver is installed, and something listens where it is."""

from __future__ import annotations

import socket

from flowml.errors import SettingsError
from flowml.secrets import mask

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
