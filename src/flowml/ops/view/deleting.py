"""Deletes a flow's run with all below it, and brings back just those."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowml.ops.prefect_api import batched
from flowml.ops.prefect_states import FLOW_RUN, is_id
from flowml.ops.runs import Runs, connected, quoted
from flowml.secrets import mask
from flowml.store.backend.connection import Connection, connect
from flowml.store.backend.failures import explained

if TYPE_CHECKING:
    from mlflow.entities import Run

_WITH = "flowml.deleted_with"  # the flow's run that a run was deleted with


@dataclass(frozen=True, slots=True)
class Family:
    """A flow's run and all below it.

    Attributes:
        flow_run: The flow's run.
        run_ids: All of them; the flow's own comes last.
        still_open: How many of them are open.
        versions: The registered model versions that were made from them, which stay.
    """

    flow_run: Run
    run_ids: list[str]
    still_open: int
    versions: list[str]


def family_of(flow_run: str) -> Family:
    """Find what `delete` would delete.

    Args:
        flow_run: A flow run's id or name in Prefect, or its run's id in MLflow.

    Raises:
        LookupError: If there is no such run, or several, or it is no flow's.
        TrackingError: If MLflow cannot be reached.
    """
    connection = connected()
    with explained(connection.uri):
        runs = Runs(connection.client)
        root = _find(runs, flow_run, connection.uri, deleted=False)
        below = list(runs.below(root))
        ids = [run.info.run_id for run in (*below, root)]
        still_open = sum(run.info.status == "RUNNING" for run in (*below, root))
        return Family(root, ids, still_open, list(_versions(connection, ids)))


def delete(flow_run: str) -> int:
    """Delete a flow's run and all below it; `restore` brings them back.

    MLflow keeps deleted runs, with their artifacts, until ``mlflow gc``. Logged models and registered versions stay.

    Args:
        flow_run: A flow run's id or name in Prefect, or its run's id in MLflow.

    Returns:
        How many runs were deleted.

    Raises:
        LookupError: If there is no such run, or several, or it is no flow's.
        TrackingError: If MLflow cannot be reached.

    Example:
        >>> delete("dancing-otter")
    """
    family = family_of(flow_run)
    connection = connect()
    with explained(connection.uri):
        for run_id in family.run_ids:  # the flow's own last: after a failure the rest is found by it
            connection.client.set_tag(run_id, _WITH, family.flow_run.info.run_id)
            connection.client.delete_run(run_id)
    return len(family.run_ids)


def restore(flow_run: str) -> int:
    """Bring back what `delete` deleted with a flow's run, and nothing that was deleted otherwise.

    Args:
        flow_run: A flow run's id or name in Prefect, or its run's id in MLflow.

    Returns:
        How many runs were brought back.

    Raises:
        LookupError: If nothing that was deleted with such a run is there.
        TrackingError: If MLflow cannot be reached.

    Example:
        >>> restore("dancing-otter")
    """
    connection = connected()
    with explained(connection.uri):
        runs = Runs(connection.client)
        root_id = _find(runs, flow_run, connection.uri, deleted=True).info.run_id
        mine = [run.info.run_id for run in runs.search(f"tags.`{_WITH}` = '{root_id}'", deleted=True)]
        mine.sort(key=root_id.__eq__)  # the flow's own last, as above
        if not mine:
            msg = f"No run that `flowml delete` deleted with {flow_run} is left to bring back."
            raise LookupError(msg)
        for run_id in mine:
            connection.client.restore_run(run_id)
            connection.client.delete_tag(run_id, _WITH)
    return len(mine)


def _find(runs: Runs, flow_run: str, uri: str, *, deleted: bool) -> Run:
    """Find the one run of a flow run; one to bring back may be active, if deleting it was broken off."""
    matching = list(_candidates(runs, flow_run, deleted=deleted))
    others = [] if matching else list(_candidates(runs, flow_run, deleted=not deleted))
    if others and not deleted:
        msg = f"The flow run {flow_run!r} is deleted already; `flowml restore` brings it back."
        raise LookupError(msg)
    matching = matching or others
    if not matching:
        msg = f"MLflow at {mask(uri)} holds no run of a flow run {flow_run!r}"
        msg += "; name its id or its name in Prefect, or its run's id in MLflow."
        raise LookupError(msg)
    if len(matching) > 1:
        ids = ", ".join(run.info.run_id for run in matching[:10])
        msg = f"{len(matching)} runs are of a flow run {flow_run!r}; name one by its id in MLflow: {ids}."
        raise LookupError(msg)
    if matching[0].data.tags.get("flowml.kind") != "flow":
        above = matching[0].data.tags.get("flowml.root_run_id")
        hint = f"; its outermost flow's is {above}" if above else ""
        msg = f"The run {flow_run} is not a flow's{hint}."
        raise LookupError(msg)
    return matching[0]


def _candidates(runs: Runs, flow_run: str, *, deleted: bool) -> Iterator[Run]:
    if re.fullmatch(r"[0-9a-f]{32}", flow_run):
        yield from runs.some([flow_run], deleted=deleted)
        return
    tag = FLOW_RUN if is_id(flow_run) else "prefect.flow_run_name"
    if name := quoted(flow_run):
        yield from runs.search(f"tags.`{tag}` = {name} and tags.`flowml.kind` = 'flow'", deleted=deleted)


def _versions(connection: Connection, run_ids: list[str]) -> Iterator[str]:
    for some in batched(run_ids, 100):
        ids = ", ".join(f"'{run_id}'" for run_id in some)
        for version in connection.client.search_model_versions(f"run_id IN ({ids})"):
            yield f"{version.name} version {version.version}"
