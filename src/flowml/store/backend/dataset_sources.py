"""Where a dataset was read from, in the forms that MLflow reads back as a source."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flowml import records

_IN_BUCKETS = {"s3": "s3", "gs": "gs", "abfss": "abfss", "wasbs": "wasbs", "hdfs": "hdfs", "dbfs": "dbfs"}
_WEB = {"http", "https"}


def source_of(record: records.Dataset, run_id: str) -> tuple[str, dict[str, Any]]:
    """Return the type of a dataset's source as MLflow names it, and what tells of it.

    A table in a warehouse has no type in MLflow: its address stands among the tags of the code that read it.
    """
    tags = {"mlflow.source.type": record.kind, "flowml.run_id": run_id}
    if not record.source:
        return "code", {"tags": tags}
    scheme = urlsplit(record.source).scheme
    more = {"flowml.revision": record.revision} if record.revision else {}
    if scheme in _IN_BUCKETS:
        return _IN_BUCKETS[scheme], {"uri": record.source, **more}
    if scheme in _WEB:
        return "http", {"url": record.source, **more}
    if scheme in {"", "file"}:
        return "local", {"uri": record.source, **more}
    return "code", {"tags": {**tags, "flowml.source": record.source, **more}}
