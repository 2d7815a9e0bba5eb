"""The runs of a whole MLflow store, page by page: those that are open, those above or below others."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from flowml import mlflow_limits
from flowml.ops.prefect_api import batched
from flowml.ops.prefect_states import FLOW_RUN, TASK_RUN, is_id
from flowml.stack import state
from flowml.store.backend.connection import Connection, connect, page_of
from flowml.store.backend.in_force import is_there, tracking_uri
from flowml.store.backend.paging import paged
from flowml.store.backend.reading import server_runs, sqlite_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_OLDEST_FIRST, _NEWEST_FIRST = ["attributes.start_time ASC"], ["attributes.start_time DESC"]
_AT_ONCE = 200  # ids in one filter


def connected() -> Connection:
    """Reach the store that flows write to.

    Raises:
        LookupError: If there is none yet.
        TrackingError: If it cannot be reached.
    """
    check_there()
    return connect()


@dataclass(frozen=True, slots=True)
class Store:
    """A store to look at.

    Attributes:
        uri: Its tracking URI.
        runs: Its runs.
    """

    uri: str
    runs: Readable

    def page_of(self, experiment_id: str, run_id: str) -> str | None:
        """Return the address of a run's page in MLflow's UI, or None when no server is known."""
        return page_of(self.uri, experiment_id, run_id)


def reading() -> Store:
    """Look at the store that flows write to, in the quickest way there is; nothing is written.

    Raises:
        LookupError: If there is none yet.
        TrackingError: If it cannot be reached.
    """
    check_there()
    uri = tracking_uri()
    return Store(uri, quickest(uri) or Runs(connect().client))


def quickest(uri: str) -> Readable | None:
    """Return the way to look at a store without importing MLflow; None if there is none."""
    if sqlite_runs.can_read(uri):
        return Rows(partial(sqlite_runs.search, uri))
    server = server_of(uri)
    return Rows(server.search) if server else None


def server_of(uri: str) -> server_runs.Server | None:
    """Return the server that has this store, to be asked without importing MLflow; None if there is none."""
    stack = state.up()
    is_shown_here = bool(stack and stack.database == uri and stack.mlflow.is_alive())
    server = stack.mlflow.url if stack and is_shown_here else uri
    return server_runs.Server(server, is_local=is_shown_here) if server_runs.can_read(server) else None


def check_there() -> None:
    """Check that there is a store that flows write to.

    Raises:
        LookupError: If there is none yet.
    """
    if not is_there():
        msg = f"There is no store at {tracking_uri()} yet; run a flow first."
        raise LookupError(msg)


class Readable:
    """The runs of a store, to be read."""

    def search(self, mine: str, *, deleted: bool = False) -> Iterator[Run]:
        """Go through the runs that a filter lets through, oldest first.

        Args:
            mine: A filter in MLflow's words.
            deleted: Take those that are deleted, in place of those that are not.
        """
        raise NotImplementedError

    def newest(self, mine: str, *, page: int = mlflow_limits.PAGE) -> Iterator[Run]:
        """Go through the runs that a filter lets through, newest first.

        Args:
            mine: A filter in MLflow's words.
            page: How many are wanted, probably.
        """
        raise NotImplementedError

    def below(self, root: Run) -> Iterator[Run]:
        """Go through all runs below a run: of those of the same outermost flow, the ones whose parents lead to it."""
        outermost = root.data.tags.get("flowml.root_run_id", root.info.run_id)
        all_of_it = {run.info.run_id: run for run in self.search(f"tags.`flowml.root_run_id` = '{outermost}'")}
        all_of_it |= {
            run.info.run_id: run for run in self.search(f"tags.`mlflow.parentRunId` = '{root.info.run_id}'")
        }  # of the user's own making
        leads: dict[str | None, bool] = {root.info.run_id: True, None: False}

        def leads_to_root(run_id: str | None) -> bool:
            way = []
            while run_id not in leads and run_id in all_of_it and run_id not in way:
                way.append(run_id)
                run_id = all_of_it[run_id].data.tags.get("mlflow.parentRunId")
            answer = leads.get(run_id, False)
            leads.update(dict.fromkeys(way, answer))
            return answer

        yield from (run for run_id, run in all_of_it.items() if run_id != root.info.run_id and leads_to_root(run_id))

    def some(self, run_ids: Iterable[str], *, deleted: bool = False) -> Iterator[Run]:
        """Read some runs, in few calls."""
        for ids in batched(run_ids, _AT_ONCE):
            quoted = ", ".join(f"'{run_id}'" for run_id in ids)
            yield from self.search(f"attributes.run_id IN ({quoted})", deleted=deleted)


class _Search(Protocol):
    """Goes through runs that are read without MLflow."""

    def __call__(self, mine: str, *, newest_first: bool, deleted: bool = ..., page: int = ...) -> Iterator[Run]: ...


class Rows(Readable):
    """The runs of a store, to be read without MLflow.

    Args:
        search: Goes through them.
    """

    def __init__(self, search: _Search) -> None:
        self._search = search

    def search(self, mine: str, *, deleted: bool = False) -> Iterator[Run]:
        """Go through the runs that a filter lets through, oldest first."""
        return self._search(mine, newest_first=False, deleted=deleted)

    def newest(self, mine: str, *, page: int = mlflow_limits.PAGE) -> Iterator[Run]:
        """Go through the runs that a filter lets through, newest first."""
        return self._search(mine, newest_first=True, page=page)


class Runs(Readable):
    """The runs of a store, to be read and written by MLflow's client.

    Args:
        client: MLflow's client for it.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def search(self, mine: str, *, deleted: bool = False) -> Iterator[Run]:
        """Go through the runs that a filter lets through, oldest first."""
        from mlflow.entities import ViewType

        view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
        for experiments in batched(self._experiments(), _AT_ONCE):
            yield from paged(
                partial(self._client.search_runs, experiments, mine, view, mlflow_limits.PAGE, _OLDEST_FIRST)
            )

    def newest(self, mine: str, *, page: int = mlflow_limits.PAGE) -> Iterator[Run]:
        """Go through the runs that a filter lets through, newest first."""
        search = partial(self._client.search_runs, filter_string=mine, max_results=page, order_by=_NEWEST_FIRST)
        every = [paged(partial(search, some)) for some in batched(self._experiments(), _AT_ONCE)]
        yield from heapq.merge(*every, key=lambda run: -run.info.start_time)

    def open_ids(self, started_before: int) -> Iterator[str]:
        """Go through the open runs that carry a Prefect id and began before a time."""
        mine = f"attributes.status = 'RUNNING' and attributes.start_time < {started_before}"
        for run in self.search(mine):
            carried = [run.data.tags[tag] for tag in (FLOW_RUN, TASK_RUN) if tag in run.data.tags]
            if carried and all(is_id(prefect_id) for prefect_id in carried):
                yield run.info.run_id

    def with_those_above(self, run_ids: Iterable[str]) -> dict[str, Run]:
        """Read runs that are open, and all above them whatever they are."""
        known = {run.info.run_id: run for run in self.some(run_ids) if run.info.status == "RUNNING"}
        wanted = _above(known.values()) - known.keys()
        tried: set[str] = set()
        while wanted:
            above = {run.info.run_id: run for run in self.some(wanted)}
            known |= above
            tried |= wanted
            wanted = _above(above.values()) - known.keys() - tried
        return known

    def close(self, run_id: str, status: str, ended: int, tags: Mapping[str, str]) -> bool:
        """Close a run, unless somebody else did meanwhile.

        Returns:
            False if it is closed or deleted already.
        """
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(run_id)
            if run.info.status != "RUNNING" or run.info.lifecycle_stage != "active":
                return False
            self.tag(run_id, tags)
            self._client.set_terminated(run_id, status, ended)
        except MlflowException as error:
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise
            return False  # it was deleted meanwhile
        return True

    def add(self, experiment_id: str, name: str, started: int, tags: Mapping[str, str]) -> str:
        """Add a run, and return its id."""
        return str(self._client.create_run(experiment_id, started, dict(tags), name).info.run_id)

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Give a run more tags."""
        from mlflow.entities import RunTag

        self._client.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.items()])

    def _experiments(self) -> Iterator[str]:
        every = paged(partial(self._client.search_experiments, max_results=mlflow_limits.PAGE))
        return (experiment.experiment_id for experiment in every)


def quoted(text: str) -> str | None:
    """Return a text as MLflow's filters take it; None if they can name no such text."""
    return next((f"{quote}{text}{quote}" for quote in ("'", '"') if quote not in text), None)


def _above(runs: Iterable[Run]) -> set[str]:
    parents = {run.data.tags.get("mlflow.parentRunId", "") for run in runs}
    return {run_id for run_id in parents if run_id.isalnum()}  # anybody can set the tag, to anything
