"""The requests that a server has kept, each with what somebody said was right about its answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowml.capture.reading import connection_here
from flowml.errors import RegistryError
from flowml.serving.files import folder_of

if TYPE_CHECKING:
    import pandas as pd

_logger = logging.getLogger(__name__)

FEEDBACK, REQUESTS, SHADOW = "feedback", "requests", "shadow"
_SHADOW = ("version", "model_id", "milliseconds", "status", "answer")
_COLUMNS = [
    *("id", "time", "model", "version", "model_id", "milliseconds", "status", "content_type", "request", "answer"),
    *("truth", "truth_time", *(f"shadow_{name}" for name in _SHADOW), "equal"),
]


def served_requests(
    model: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    with_truth: bool = False,
    limit: int = 10_000,
) -> pd.DataFrame:
    """Return the requests that `flowml serve-model` has kept in this project, joined with the feedback on them.

    Needs no server: it reads the Parquet files that all of the model's servers have left here. A request is there some
    five seconds after its answer.

    Args:
        model: The registered model's name.
        since: The earliest time of a request. Default: all that are kept.
        until: The time before which a request came.
        with_truth: Return those alone about which there is feedback, the `limit` newest pieces of it.
        limit: The most rows; the newest are returned. Rows have up to 200 KB.

    Returns:
        A row for each request, the oldest first: `id`, `time`, `model`, `version`, `model_id`, `milliseconds`,
        `status`, `content_type`, `request`, `answer`; the `truth` and its time, both None where nobody said it, of
        several the last one; and with ``--shadow`` what the other version said: `shadow_version`, `shadow_answer`, ...

    Raises:
        RegistryError: If that is no name of a model.

    Example:
        >>> rows = flowml.served_requests("churn", with_truth=True)
        >>> flowml.served_metrics(rows)["7"]["truth.accuracy"]
        0.93
    """
    import pandas as pd

    if not model or {"@", "/"} & set(model):
        msg = f"{model!r} is no model's name: write it without alias or version; the column `version` tells them apart."
        raise RegistryError(msg)
    folder = folder_of(connection_here(), model)
    span = tuple(int(one.timestamp() * 1000) if one else None for one in (since, until))
    truths = read_truths(folder, limit) if with_truth else None
    rows = read_answers(folder, truths, span=(span[0], span[1]), limit=limit)
    if truths is None:
        truths = read_truths(folder, limit, {row["id"] for row in rows})
    for row in rows:
        row["truth_time"], row["truth"] = truths.get(row["id"], (None, None))
    if with_truth:
        rows = [row for row in rows if row["truth"] is not None]
    table = pd.DataFrame(rows, columns=_COLUMNS, dtype=object).astype({"milliseconds": float, "status": int})
    for name in ("time", "truth_time"):
        table[name] = pd.to_datetime(table[name].astype("Int64"), unit="ms", utc=True)
    return table


def read_truths(folder: Path, most: int, about: Collection[str] | None = None) -> dict[str, tuple[int, Any]]:
    """Return what was said to be right: by the answer's id the time and the truth, of several the last one.

    Args:
        folder: Where the model's files are.
        most: How many ids; the newest are returned.
        about: The ids that are wanted. Default: all.
    """
    found: dict[str, tuple[int, Any]] = {}
    for file in _newest_first(folder / FEEDBACK):
        if len(found) >= most:
            break
        of_file: dict[str, tuple[int, Any]] = {}
        for row in _rows(file, about, None):
            if row["time"] >= of_file.get(row["id"], (0, None))[0]:
                of_file[row["id"]] = row["time"], json.loads(row["truth"])
        for number, told in of_file.items():
            if told[0] > found.get(number, (0, None))[0]:
                found[number] = told
    return found


def newest_truth(folder: Path) -> str:
    """Return the name of the newest file with feedback; empty where there is none."""
    return next((file.name for file in _newest_first(folder / FEEDBACK)), "")


def written(name: str) -> int:
    """Return when a file was written, in milliseconds since 1970, by its name."""
    return int(name.partition("-")[0])


def read_answers(
    folder: Path,
    about: Collection[str] | None = None,
    *,
    span: tuple[int | None, int | None] = (None, None),
    limit: int,
    columns: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Return what was kept of requests, the oldest first.

    Args:
        folder: Where the model's files are.
        about: The ids that are wanted. Default: all.
        span: The first time, and the one after the last, in milliseconds since 1970.
        limit: How many; the newest are returned.
        columns: Which of a row's fields. Default: all.
    """
    since, until = span
    files = [*_newest_first(folder / REQUESTS), *_newest_first(folder / SHADOW)]
    found: list[dict[str, Any]] = []
    for file in sorted(files, key=_written, reverse=True):
        if len(found) >= limit or (about is not None and len(found) == len(about)):
            break
        if since is not None and _written(file) < since:  # a row's time is before that of its file
            break
        some = _rows(file, about, columns)
        found += [row for row in some if (since or 0) <= row["time"] and (until is None or row["time"] < until)]
    return sorted(found, key=lambda row: row["time"])[-limit:]


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.parquet"), key=_written, reverse=True)


def _written(file: Path) -> int:
    return written(file.name)


def _rows(file: Path, about: Collection[str] | None, columns: list[str] | None) -> Iterator[dict[str, Any]]:
    """Return the rows of a file; none if it was removed meanwhile, as the oldest are, or is no Parquet file."""
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

    try:
        with pq.ParquetFile(file) as opened:
            ids = opened.read(["id"])["id"].to_pylist()
            places = [place for place, one in enumerate(ids) if about is None or one in about]
            if places:
                known = set(opened.schema_arrow.names)
                wanted = [name for name in columns or known if name in known]
                yield from opened.read(wanted).take(places).to_pylist()
    except FileNotFoundError:
        return
    except pa.ArrowInvalid as error:
        _logger.warning("flowml: %s is left out, for it cannot be read: %s", file, error)
