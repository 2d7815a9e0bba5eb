"""Names of data as the standard has them: a namespace, which says where, and a name there."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from flowml.secrets import mask

_BUCKETS = {"s3": "s3", "s3a": "s3", "s3n": "s3", "gs": "gs", "gcs": "gs"}
_HOSTED = {"postgres": 5432, "mysql": 3306, "redshift": 5439, "trino": 8080, "oracle": 1521, "sqlserver": 1433}
_DIALECTS = {"postgresql": "postgres", "mariadb": "mysql", "mssql": "sqlserver"}


def of_file(path: str) -> tuple[str, str]:
    """Name a file of this machine."""
    return "file", Path(path).as_posix()


def of_source(source: str) -> tuple[str, str]:  # noqa: PLR0911 - one for each kind of place
    """Name what an address leads to; what is no address is a name of its own.

    Example:
        >>> of_source("s3://bucket/day/1.parquet")
        ('s3://bucket', 'day/1.parquet')
        >>> of_source("postgresql+psycopg2://ada:pw@db/shop#public.orders")
        ('postgres://db:5432', 'shop.public.orders')
        >>> of_source("bigquery://project/sales.orders")
        ('bigquery', 'project.sales.orders')
    """
    try:
        parts = urlsplit(source)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "file", mask(source)
    scheme = parts.scheme.partition("+")[0]
    scheme = _DIALECTS.get(scheme, scheme)
    if not parts.scheme or len(scheme) == 1:  # a letter is a drive
        return of_file(str(Path(source).absolute()))
    if scheme == "file":
        return of_file(unquote(parts.path))
    if scheme in _BUCKETS:
        return f"{_BUCKETS[scheme]}://{parts.netloc.rpartition('@')[2]}", parts.path.strip("/") or "/"
    if scheme in {"abfs", "abfss", "wasb", "wasbs"}:
        return f"{scheme}://{parts.netloc}", parts.path.strip("/") or "/"
    if scheme == "bigquery":
        return "bigquery", ".".join(filter(None, [host, *_words(parts)]))
    if scheme == "snowflake":
        return f"snowflake://{host}", ".".join(_words(parts))
    if scheme in _HOSTED:
        return f"{scheme}://{host}:{port or _HOSTED[scheme]}", ".".join(_words(parts))
    if scheme in {"sqlite", "duckdb"}:
        file = parts.path[1:] or ":memory:"
        return scheme, ".".join(filter(None, [file, parts.fragment]))
    where = f"{host}:{port}" if port else host
    return f"{scheme}://{where}", parts.path.strip("/") or "/"


def _words(parts: SplitResult) -> list[str]:
    """Return the database, and the table: that stands after ``#``, or in the path."""
    return [word for word in [*parts.path.split("/"), parts.fragment] if word]
