"""MLflow's tables, where it keeps runs in a SQL database that is reached directly."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sqlalchemy import Engine

COLUMNS = {
    "SqlRun": "run_uuid name source_type source_name entry_point_name user_id status start_time end_time deleted_time "
    "source_version lifecycle_stage artifact_uri experiment_id",
    "SqlTag": "key value run_uuid",
    "SqlParam": "key value run_uuid",
    "SqlMetric": "key value timestamp step is_nan run_uuid",
    "SqlLatestMetric": "key value timestamp step is_nan run_uuid",
}
"""The tables that a run's rows are in, with their columns: mlflow/store/tracking/dbmodels/models.py"""


@dataclass(frozen=True, slots=True)
class RunRow:
    """What is told of a run without MLflow's entities, which take ten times as long to make.

    Attributes:
        run_id: Its id.
        name: What it is called.
        status: MLflow's word for how it ended.
        started: When, in milliseconds since 1970.
        ended: When it ended, likewise; None if it has not.
        tags: Its tags.
        metrics: The last value of each of its metrics.
    """

    run_id: str
    name: str
    status: str
    started: int
    ended: int | None
    tags: dict[str, str]
    metrics: dict[str, float]


def serves(client: MlflowClient) -> bool:
    """Tell whether a client's store is one whose tables are those known here."""
    # Not imported for this: whoever writes over HTTP never needs SQLAlchemy.
    module = sys.modules.get("mlflow.store.tracking.sqlalchemy_store")
    # A class derived from it may keep more.
    return module is not None and type(_store_of(client)) is module.SqlAlchemyStore and _are_known()


def engine_of(client: MlflowClient) -> Engine:
    """Return the engine of a store that `serves`."""
    engine: Engine = _store_of(client).engine
    return engine


def _store_of(client: MlflowClient) -> Any:
    return getattr(getattr(client, "_tracking_client", None), "store", None)


@cache
def _are_known() -> bool:
    from mlflow.store.tracking.dbmodels import models

    tables = ((getattr(models, name, None), columns) for name, columns in COLUMNS.items())
    return all(
        table and {column.name for column in table.__table__.columns} == set(columns.split())
        for table, columns in tables
    )


def below(client: MlflowClient, run_id: str, experiment_id: str) -> Iterator[RunRow]:
    """Read the runs right below a run, oldest first.

    Args:
        client: MLflow's client, of a store that `serves`.
        run_id: The run.
        experiment_id: Its experiment.
    """
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import select

    run: Any = models.SqlRun.__table__.c
    tag: Any = models.SqlTag.__table__.c
    metric: Any = models.SqlLatestMetric.__table__.c
    children = select(tag.run_uuid).where(tag.key == "mlflow.parentRunId", tag.value == run_id)
    runs = (
        select(run.run_uuid, run.name, run.status, run.start_time, run.end_time)
        .where(run.run_uuid.in_(children), run.experiment_id == int(experiment_id), run.lifecycle_stage == "active")
        .order_by(run.start_time, run.run_uuid)
    )
    tags: defaultdict[str, dict[str, str]] = defaultdict(dict)
    metrics: defaultdict[str, dict[str, float]] = defaultdict(dict)
    with engine_of(client).connect() as connection:
        for its_id, key, value in connection.execute(
            select(tag.run_uuid, tag.key, tag.value).where(tag.run_uuid.in_(children))
        ):
            tags[its_id][key] = value
        for its_id, key, value, is_nan in connection.execute(
            select(metric.run_uuid, metric.key, metric.value, metric.is_nan).where(metric.run_uuid.in_(children))
        ):
            metrics[its_id][key] = float("nan") if is_nan else value
        for its_id, name, status, started, ended in connection.execute(runs):
            yield RunRow(its_id, name, status, started, ended, tags[its_id], metrics[its_id])
