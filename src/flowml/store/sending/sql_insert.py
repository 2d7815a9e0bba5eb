"""Writes many new runs in one transaction, where MLflow keeps them in a SQL database that is reached directly.

MLflow's own calls take about 40 statements and 7 transactions for a run, most of them to read again what was just
written. Here the same rows are written by one statement for each table. A database that looks otherwise than the one
known to `sql_tables`, or a store of another kind, is left to MLflow's calls; `tests/store/test_bulk.py` compares rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowml.errors import TrackingError
from flowml.patches.mlflow import VALIDATE_BATCH
from flowml.store.backend import sql_tables
from flowml.store.sending import batches

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from sqlalchemy import Connection

    from flowml.store.waiting.queue import Closing


@dataclass(frozen=True, slots=True)
class RunInsert:
    """A run that is to be written, with what is known of it.

    Attributes:
        name: What it is called.
        started: When its call began, in milliseconds since 1970.
        tags: Its tags.
        batch: Its metrics, parameters and further tags, as MLflow's entities.
        closing: How it ended, if nothing else has to be sent before it is closed.
        run_id: Its id.
    """

    name: str
    started: int
    tags: Mapping[str, str]
    batch: batches.Batch
    closing: Closing | None
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)


def write(client: MlflowClient, experiment_id: str, inserts: Iterable[RunInsert]) -> None:
    """Write runs of one experiment, all or none.

    Args:
        client: MLflow's client, of a store that `sql_tables.serves`.
        experiment_id: The experiment.
        inserts: The runs.

    Raises:
        Exception: What MLflow refuses, or the database; nothing is written.
    """
    from mlflow.store.tracking.dbmodels import models

    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in sql_tables.COLUMNS}
    with sql_tables.engine_of(client).begin() as connection:
        root = _artifacts_of(connection, experiment_id)
        for insert in inserts:
            _add_rows(rows, insert, int(experiment_id), root)
        for name, of_table in rows.items():
            if of_table:
                connection.execute(getattr(models, name).__table__.insert(), of_table)


def _artifacts_of(connection: Connection, experiment_id: str) -> str:
    from mlflow.store.tracking.dbmodels.models import SqlExperiment
    from sqlalchemy import select

    wanted: Any = select(SqlExperiment.artifact_location, SqlExperiment.lifecycle_stage)
    location, stage = connection.execute(wanted.where(SqlExperiment.experiment_id == int(experiment_id))).one()
    if stage != "active":
        msg = f"experiment {experiment_id} is {stage}"
        raise TrackingError(msg)
    return str(location)


def _add_rows(rows: dict[str, list[dict[str, Any]]], insert: RunInsert, experiment_id: int, root: str) -> None:
    from mlflow.entities import RunTag
    from mlflow.utils.uri import append_to_uri_path

    tags = {"mlflow.runName": insert.name, **insert.tags} | {tag.key: tag.value for tag in insert.batch.tags}
    checked = [RunTag(key, value) for key, value in tags.items()]
    metrics, params, checked = VALIDATE_BATCH.get()(insert.batch.metrics, insert.batch.params, checked)
    mine = {"run_uuid": insert.run_id}
    rows["SqlRun"].append(
        {
            **mine,
            "name": insert.name,
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "user_id": tags.get("mlflow.user", "unknown"),
            "status": insert.closing.status if insert.closing else "RUNNING",
            "start_time": insert.started,
            "end_time": insert.closing.ended if insert.closing else None,
            "deleted_time": None,
            "source_version": "",
            "lifecycle_stage": "active",
            "artifact_uri": append_to_uri_path(root, insert.run_id, "artifacts"),
            "experiment_id": experiment_id,
        }
    )
    rows["SqlTag"] += [{**mine, "key": tag.key, "value": tag.value} for tag in checked]
    rows["SqlParam"] += [{**mine, "key": param.key, "value": param.value} for param in params]
    taken = _once_each(metrics)
    rows["SqlMetric"] += [{**mine, **row} for row in taken]
    rows["SqlLatestMetric"] += [{**mine, **row} for row in _latest(taken)]


def _once_each(metrics: Iterable[Metric]) -> list[dict[str, Any]]:
    """Return the metrics' rows; SQL knows neither NaN nor infinity, and the same value twice is one."""
    found = {}
    for metric in metrics:
        is_nan, value = metric.value != metric.value, float(metric.value)
        value = 0.0 if is_nan else max(-_LARGEST, min(_LARGEST, value))
        row = {"key": metric.key, "value": value, "timestamp": metric.timestamp, "step": metric.step, "is_nan": is_nan}
        found[tuple(row.values())] = row
    return list(found.values())


_LARGEST = 1.7976931348623157e308  # what MLflow writes for infinity


def _latest(rows: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """Return the last row of each metric, as MLflow orders them."""
    last: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        other = last.get(row["key"])
        if other is None or _order(row) > _order(other):
            last[row["key"]] = row
    return last.values()


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["step"], row["timestamp"], row["value"]
