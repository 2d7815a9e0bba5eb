"""Answers a flow that waits for an approval, as Prefect's UI does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound

from flowml.errors import RegistryError, listed, nearest, nearest_or_some
from flowml.registry.waiting import Question, asked_in

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

_MOST = 200


def answer(
    flow_run: str, *, approve: bool, why: str, who: str, fields: Mapping[str, Any] | None = None
) -> tuple[Question, str]:
    """Answer a flow run that waits in `approve`.

    Args:
        flow_run: The flow run's id, or its name.
        approve: Whether the version may be released.
        why: The reason.
        who: Who says so.
        fields: What a form of your own asks besides.

    Returns:
        What was asked, and the flow run's name.

    Raises:
        RegistryError: If it does not wait for an approval, or the answer does not fit its form; nothing was changed.
        Exception: What Prefect raises if it cannot be asked.
    """
    with get_client(sync_client=True) as client:
        run = _found(client, flow_run)
        question = _asked(client, run)
        given = {**(fields or {}), "approve": approve, "why": why, "who": who}
        _fit(client, run, question, given)
        result = client.resume_flow_run(run.id, run_input=given)
    if result.status == SetStateStatus.ACCEPT:
        return question, run.name
    reason = getattr(result.details, "reason", None) or "Prefect gives no reason"
    if result.status == SetStateStatus.ABORT:
        msg = f"{run.name} does not wait any more: somebody has answered at the same moment."
    else:
        msg = f"{run.name} does not take this answer: {reason.removeprefix('Reason: ')}"
    raise RegistryError(msg)


def _found(client: SyncPrefectClient, named: str) -> FlowRun:
    try:
        return client.read_flow_run(UUID(named))
    except ObjectNotFound:
        msg = f"There is no flow run {named}. {_some(client, named)}"
        raise RegistryError(msg.rstrip()) from None
    except ValueError:
        pass
    found = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[named])), limit=_MOST)
    waiting = [run for run in found if run.state and run.state.is_paused()]
    if len(waiting) == 1 or len(found) == 1:
        return (waiting or found)[0]
    if not found:
        msg = f"There is no flow run {named!r}. {_some(client, named)}"
        raise RegistryError(msg.rstrip())
    ids = listed(str(run.id) for run in waiting or found)
    msg = f"{len(waiting or found)} flow runs are called {named!r}. Name one by its id: {ids}."
    raise RegistryError(msg)


def _some(client: SyncPrefectClient, named: str) -> str:
    """Name the flow runs that may have been meant: those that wait."""
    paused = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])))
    names = [run.name for run in client.read_flow_runs(flow_run_filter=paused, limit=_MOST)]
    return nearest_or_some(named, names) if names else "None waits for an answer."


def _asked(client: SyncPrefectClient, run: FlowRun) -> Question:
    """Return what a flow run waits for."""
    asked = asked_in(client, run.id)
    state = run.state
    if state is None or not state.is_paused():
        was = " It was answered before, or its time was up." if asked else ""
        msg = f"{run.name} does not wait for an answer: it is {state.name if state else 'not begun'}.{was}"
        raise RegistryError(msg)
    key = state.state_details.pause_key or ""
    for question in asked:
        if key.rpartition("-")[0] == question.slug:
            return question
    msg = f"{run.name} waits for something else than an approval. Answer it in Prefect's UI."
    raise RegistryError(msg)


def _fit(client: SyncPrefectClient, run: FlowRun, question: Question, given: Mapping[str, Any]) -> None:
    """Refuse an answer whose fields are not those of the form."""
    keys = run.state.state_details.run_input_keyset if run.state else None
    schema = json.loads(client.read_flow_run_input(run.id, keys["schema"])) if keys else {}
    known = list(schema.get("properties", given))
    for name in given:
        if name not in known:
            msg = f"The form of {run.name} has no field {name!r}{nearest(name, known)}. It has {listed(known)}."
            raise RegistryError(msg)
    missing = [name for name in question.required if given.get(name) in (None, "")]
    if missing:
        words = " ".join(f"--{name} …" if name in {"why", "who"} else f"--field {name}=…" for name in missing)
        msg = f"The form of {run.name} asks for {listed(missing)} too. Add {words}."
        raise RegistryError(msg)
