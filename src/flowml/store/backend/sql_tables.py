"""MLflow's tables, where it keeps runs in a SQL database that flowml made and reaches directly."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flowml.patches.mlflow import CLIENTS_STORE, VALIDATE_BATCH
from flowml.store.backend import embedded

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput
    from sqlalchemy import Connection, Engine, Select

COLUMNS = {
    "SqlRun": "run_uuid name source_type source_name entry_point_name user_id status start_time end_time deleted_time "
    "source_version lifecycle_stage artifact_uri experiment_id",
    "SqlTag": "key value run_uuid",
    "SqlParam": "key value run_uuid",
    "SqlMetric": "key value timestamp step is_nan run_uuid",
    "SqlLatestMetric": "key value timestamp step is_nan run_uuid",
}
"""The tables that a run's rows are in, with their columns: mlflow/store/tracking/dbmodels/models.py"""


REVISIONS = frozenset({"dc11669786a5"})
"""MLflow's revisions of its tables (alembic's) for which tests compare the rows written here with those of MLflow."""


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
        params: Its parameters, where they were asked for.
        datasets: What it read and made.
        models: The ids of the models that it logged.
    """

    run_id: str
    name: str
    status: str
    started: int
    ended: int | None
    tags: dict[str, str]
    metrics: dict[str, float]
    params: Mapping[str, str] = field(default_factory=dict)
    datasets: list[DatasetInput] = field(default_factory=list)
    models: list[str] = field(default_factory=list)


def serves(client: MlflowClient) -> bool:
    """Tell whether a client's store is a database that flowml made, with tables of a revision that is known here."""
    # Not imported for this: whoever writes over HTTP never needs SQLAlchemy.
    module = sys.modules.get("mlflow.store.tracking.sqlalchemy_store")
    store = _store_of(client)
    # A class derived from it may keep more.
    is_plain = module is not None and type(store) is module.SqlAlchemyStore
    if not is_plain or not embedded.is_ours(client.tracking_uri) or VALIDATE_BATCH.get() is None:
        return False
    return _revision_of(store.engine) in REVISIONS


def engine_of(client: MlflowClient) -> Engine:
    """Return the engine of a store that `serves`."""
    engine: Engine = _store_of(client).engine
    return engine


def _store_of(client: MlflowClient) -> Any:
    return getattr(CLIENTS_STORE.of(client), "store", None)


@lru_cache(maxsize=16)
def _revision_of(engine: Engine) -> str | None:
    from sqlalchemy import text

    with engine.connect() as connection:
        found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return found


def below(client: MlflowClient, run_id: str, experiment_id: str) -> list[RunRow]:
    """Read the runs right below a run, oldest first.

    Args:
        client: MLflow's client, of a store that `serves`.
        run_id: The run.
        experiment_id: Its experiment.

    Raises:
        Exception: What the database raises.
    """
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import select

    run: Any = models.SqlRun.__table__.c
    tag: Any = models.SqlTag.__table__.c
    metric: Any = models.SqlLatestMetric.__table__.c
    below_it = select(tag.run_uuid).where(tag.key == "mlflow.parentRunId", tag.value == run_id)
    here = (run.run_uuid.in_(below_it), run.experiment_id == int(experiment_id), run.lifecycle_stage == "active")
    of_them = select(run.run_uuid).where(*here)
    runs = select(run.run_uuid, run.name, run.status, run.start_time, run.end_time).where(*here)
    with engine_of(client).connect() as connection:
        # The runs first: what is written meanwhile is missing as a whole, not a run without its tags.
        rows = connection.execute(runs.order_by(run.start_time, run.run_uuid))
        found = {
            its_id: RunRow(its_id, name, status, started, ended, tags={}, metrics={})
            for its_id, name, status, started, ended in rows
        }
        tags = select(tag.run_uuid, tag.key, tag.value).where(tag.run_uuid.in_(of_them))
        for its_id, key, value in connection.execute(tags):
            if its_id in found:
                found[its_id].tags[key] = value
        last = select(metric.run_uuid, metric.key, metric.value, metric.is_nan).where(metric.run_uuid.in_(of_them))
        for its_id, key, value, is_nan in connection.execute(last):
            if its_id in found:
                found[its_id].metrics[key] = math.nan if is_nan else value
        _add_links(connection, of_them, found)
    return list(found.values())


def _add_links(connection: Connection, of_them: Select[Any], found: Mapping[str, RunRow]) -> None:
    """Add what runs read, made and logged."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import select

    link: Any = models.SqlInput.__table__.c
    dataset: Any = models.SqlDataset.__table__.c
    tag: Any = models.SqlInputTag.__table__.c
    kind = (dataset.dataset_source_type, dataset.dataset_source, dataset.dataset_schema, dataset.dataset_profile)
    datasets = (
        select(link.destination_id, dataset.name, dataset.digest, *kind, tag.name, tag.value)
        .join_from(models.SqlInput, models.SqlDataset, link.source_id == dataset.dataset_uuid)
        .outerjoin(models.SqlInputTag, tag.input_uuid == link.input_uuid)
        .where(link.destination_type == "RUN", link.destination_id.in_(of_them))
    )
    for its_id, *of_dataset, key, value in connection.execute(datasets):
        if its_id in found:
            tags = [InputTag(key, value)] if key else []
            found[its_id].datasets.append(DatasetInput(Dataset(*of_dataset), tags))
    made = select(link.source_id, link.destination_id).where(
        link.source_type == "RUN_OUTPUT", link.destination_type == "MODEL_OUTPUT", link.source_id.in_(of_them)
    )
    for its_id, model_id in connection.execute(made):
        if its_id in found:
            found[its_id].models.append(model_id)


def count_points(client: MlflowClient, run_id: str) -> int:
    """Count the points of all metrics of a run, and once more for each logged model that they tell of.

    Raises:
        Exception: What the database raises.
    """
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import func, select

    run_ids: list[Any] = [models.SqlMetric.__table__.c.run_uuid, models.SqlLoggedModelMetric.__table__.c.run_id]
    with engine_of(client).connect() as connection:
        return sum(connection.execute(select(func.count()).where(each == run_id)).scalar_one() for each in run_ids)


def params_of(client: MlflowClient, run_ids: Collection[str]) -> Mapping[str, Mapping[str, str]]:
    """Read the parameters of runs, by the run's id.

    Raises:
        Exception: What the database raises.
    """
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import select

    param: Any = models.SqlParam.__table__.c
    found: dict[str, dict[str, str]] = {}
    with engine_of(client).connect() as connection:
        wanted = select(param.run_uuid, param.key, param.value).where(param.run_uuid.in_(list(run_ids)))
        for run_id, key, value in connection.execute(wanted):
            found.setdefault(run_id, {})[key] = value
    return found
