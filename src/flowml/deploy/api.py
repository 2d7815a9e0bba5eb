"""What Prefect's API has of deployments: found by name, or refused with the nearest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from flowml.errors import DeploymentError, listed, nearest
from flowml.ops.prefect_api import PAGE, address, explained, reached

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.deployments.runner import RunnerDeployment


@contextmanager
def server() -> Iterator[SyncPrefectClient]:
    """Reach the Prefect server; a temporary one will not do, for it starts nothing when this process is gone.

    Raises:
        OrchestrationError: If there is none, or it cannot be reached.
    """
    address("Deployments need a Prefect server that stays")
    with reached() as client:
        yield client


def every(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    """Return all deployments by their full names.

    Raises:
        OrchestrationError: If the API cannot be asked.
    """
    from prefect.client.schemas.filters import FlowFilter, FlowFilterId

    found: list[DeploymentResponse] = []
    flows: dict[Any, str] = {}
    with explained():
        while page := client.read_deployments(limit=PAGE, offset=len(found)):
            found += page
            ids = FlowFilter(id=FlowFilterId(any_=list({one.flow_id for one in page})))
            flows |= {flow.id: flow.name for flow in client.read_flows(flow_filter=ids, limit=PAGE)}
    return {f"{flows.get(one.flow_id, '?')}/{one.name}": one for one in found}


def named(client: SyncPrefectClient, name: str) -> tuple[str, DeploymentResponse]:
    """Find a deployment by its full name, or by its own if only one has it; returns the full name with it.

    Raises:
        DeploymentError: If there is none, or several.
        OrchestrationError: If the API cannot be asked.
    """
    there = every(client)
    found = [one for one in there if name in {one, one.rpartition("/")[2]}]
    if len(found) == 1:
        return found[0], there[found[0]]
    if found:
        msg = f"Several deployments are called {name!r}: {listed(found)}. Name one in full."
        raise DeploymentError(msg)
    msg = f"There is no deployment {name!r}{nearest(name, there)}; there are {listed(there)}."
    raise DeploymentError(msg)


def existing(client: SyncPrefectClient, full_name: str) -> DeploymentResponse | None:
    """Return the deployment of this full name, if there is one.

    Raises:
        OrchestrationError: If the API cannot be asked.
    """
    from prefect.exceptions import ObjectNotFound

    with explained():
        try:
            return client.read_deployment_by_name(full_name)
        except ObjectNotFound:
            return None


def check_pool(client: SyncPrefectClient, name: str) -> None:
    """Check that a work pool exists.

    Raises:
        DeploymentError: If it does not.
        OrchestrationError: If the API cannot be asked.
    """
    from prefect.exceptions import ObjectNotFound

    with explained():
        try:
            client.read_work_pool(name)
        except ObjectNotFound:
            found = client.request("POST", "/work_pools/filter", json={"limit": PAGE}).json()
        else:
            return
    pools = [pool["name"] for pool in found]
    make = f"`prefect work-pool create {name} --type process` makes it"
    msg = f"There is no work pool {name!r}{nearest(name, pools)}; there are: {listed(pools)}. {make}."
    raise DeploymentError(msg)


def check_secrets(client: SyncPrefectClient, names: list[str]) -> None:
    """Check that Secret blocks exist.

    Raises:
        DeploymentError: If one does not.
        OrchestrationError: If the API cannot be asked.
    """
    from prefect.exceptions import ObjectNotFound

    for name in names:
        with explained():
            try:
                client.read_block_document_by_name(name, "secret", include_secrets=False)
            except ObjectNotFound:
                msg = f"Prefect has no Secret block {name!r}; save it first: Secret(value=...).save({name!r})."
                raise DeploymentError(msg) from None


def notification_block(block: str) -> UUID:
    """Return the id of a block that people are told by.

    Args:
        block: ``"<type>/<name>"``.

    Raises:
        DeploymentError: If there is none, or it is no notification block.
        OrchestrationError: If the API cannot be asked.
    """
    from prefect.exceptions import ObjectNotFound

    kind, _, name = block.partition("/")
    with server() as client, explained():
        try:
            found = client.read_block_document_by_name(name, kind, include_secrets=False)
        except ObjectNotFound:
            there = [one for one in _documents(client) if _notifies(one)]
            names = [f"{one['block_type']['slug']}/{one['name']}" for one in there]
            hint = f"{nearest(block, names)}; there are: {listed(names)}" if names else "; there is none at all"
            msg = f"Prefect has no notification block {block!r}{hint}. Prefect's UI makes one, on the page Blocks."
            raise DeploymentError(msg) from None
    if not _notifies(found.model_dump()):
        msg = f"{block} is no notification block: Prefect cannot send a message by it. Take a slack-webhook, for one."
        raise DeploymentError(msg)
    return found.id


def _documents(client: SyncPrefectClient) -> list[dict[str, Any]]:
    answer = client.request("POST", "/block_documents/filter", json={"limit": PAGE})
    found: list[dict[str, Any]] = answer.raise_for_status().json()
    return found


def _notifies(document: Mapping[str, Any]) -> bool:
    return "notify" in ((document.get("block_schema") or {}).get("capabilities") or ())


def check_taken(there: DeploymentResponse | None, made: RunnerDeployment) -> None:
    """Check that a name is not that of another flow's deployment: flows of two files may be called the same.

    Args:
        there: What has the name; None if nothing has.
        made: What shall have it.

    Raises:
        DeploymentError: If it is.
    """
    if there is None or not there.entrypoint:
        return
    one, other = there.entrypoint, str(made.entrypoint)
    step = made.storage.to_pull_step() if made.work_pool_name and made.storage else []
    was, now = _pulled_there(there), _pulled(step if isinstance(step, list) else [step])
    if was and now and was.kind == now.kind and _same_place(one, other):  # perhaps of two projects that look alike
        one, other = f"{was.place}/{one}", f"{now.place}/{other}"
    if _same_place(one, other):
        return
    full_name = f"{made.flow_name}/{made.name}"
    msg = (
        f"{full_name} is the deployment of another flow, {one}, and not of {other}. Choose "
        f"another name, delete that one (`prefect deployment delete {full_name}`), or take its place: --replace."
    )
    raise DeploymentError(msg)


class _Pulled(NamedTuple):
    """Where workers load a deployment's flow from: a folder, or a git repository."""

    kind: str
    place: str


_FOLDER = "prefect.deployments.steps.set_working_directory"
_PLACES = {_FOLDER: "directory", "prefect.deployments.steps.git_clone": "repository"}


def _pulled_there(there: DeploymentResponse) -> _Pulled | None:
    if not there.work_pool_name:
        return None
    return _pulled(there.pull_steps or []) or (_Pulled(_FOLDER, there.path) if there.path else None)


def _pulled(steps: list[dict[str, Any]]) -> _Pulled | None:
    pulled = (_Pulled(kind, str(step[kind][key])) for step in steps for kind, key in _PLACES.items() if kind in step)
    return next(pulled, None)


def _same_place(one: str, other: str) -> bool:
    """Tell whether two entrypoints are the same, told perhaps from different folders."""
    first, second = (_parts(text) for text in (one, other))
    shorter = min(len(first), len(second))
    return first[-shorter:] == second[-shorter:]


def _parts(entrypoint: str) -> tuple[str, ...]:
    file, _, name = entrypoint.rpartition(":")
    return (*(part for part in PurePosixPath(file.replace("\\", "/")).parts if part not in {"..", "."}), name)
