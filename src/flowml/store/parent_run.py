"""The run of a DAG run, as flows are hung under it, and as tasks that log by hand are given it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from functools import cache, partial
from importlib.metadata import version

from flowml import formats, records, settings
from flowml.storable import clean
from flowml.store import dag_run
from flowml.store.backend.connection import connect
from flowml.store.backend.failures import explained
from flowml.store.backend.in_force import uses_mlflows_own
from flowml.store.lazy_store import LazyStore
from flowml.store.own_run import JoinedRun
from flowml.store.sending import creation
from flowml.store.sending.writer import writer_of
from flowml.store.waiting import journaled
from flowml.store.waiting.queue import Experiment, NewRun, Outgoing


def run_of(of_airflow: dag_run.DagRun, store: LazyStore, started: int) -> JoinedRun:
    """Return the run of a DAG run, which the sender finds or creates; like all others it may wait for MLflow.

    Args:
        of_airflow: The DAG run.
        store: The store that its flow's run goes to.
        started: When that flow began.
    """
    out = _outgoing(of_airflow, store, started)
    journaled.begin(out)
    store.when_fixed(lambda _: journaled.note_store(out))
    store.when_fixed(lambda connection: writer_of(connection).tell(out))
    return JoinedRun(store, out)


def _outgoing(of_airflow: dag_run.DagRun, store: LazyStore, started: int) -> Outgoing:
    new = NewRun(
        name=clean(of_airflow.name),
        tags={**process_tags(), **of_airflow.own_tags},
        started=started,
        experiment=partial(_experiment, of_airflow.dag),
        is_root=False,
        is_shared=True,
    )
    return Outgoing(new, None, store=store.place, key=of_airflow.key)


def airflow_parent() -> records.CurrentRun | None:
    """Return the MLflow run of the DAG run of Airflow that this process is part of; it is created if there is none.

    The flows that the DAG run's tasks run hang under it by themselves. This is for tasks that log to it by hand.

    Returns:
        The run; None if no task of Airflow started this process, and where tracking is off.

    Raises:
        TrackingError: If MLflow cannot be reached.

    Example:
        >>> parent = flowml.airflow_parent()
        >>> mlflow.MlflowClient().log_metric(parent.run_id, "rows", 1200)
    """
    settings.reload()
    of_airflow = dag_run.of_environment()
    if of_airflow is None or not settings.current().enabled:
        return None
    connection = connect()
    with explained(connection.uri):
        out = _outgoing(of_airflow, LazyStore.at(connection), formats.now())
        created = creation.ensure(connection, out)
        parent = created.entity or connection.client.get_run(created.info.run_id)
        dag_run.settle(connection.client, parent)
    info = created.info
    return dataclasses.replace(info, url=connection.page_of(info.experiment_id, info.run_id))


def _experiment(name: str) -> Experiment:
    """Return the experiment that the environment names, whoever asks; else the one of this name."""
    if named := settings.current().experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME"):
        return Experiment(None, named)
    its_id = os.environ.get("MLFLOW_EXPERIMENT_ID")
    return Experiment(its_id) if its_id and uses_mlflows_own() else Experiment(None, name)


@cache
def process_tags() -> Mapping[str, str]:
    """Return the tags that are the same for every run of this process: user, source, commit, flowml's version."""
    from mlflow.tracking.context.registry import resolve_tags

    same = {tag: value for tag, value in resolve_tags().items() if not tag.startswith(("prefect.", "flowml."))}
    return {**same, "flowml.version": version("prefect-flowml")}
