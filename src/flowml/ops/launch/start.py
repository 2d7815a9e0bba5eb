"""Runs a flow from the command line, to its end."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowml.ops import output
from flowml.ops.launch.calls import noted
from flowml.ops.launch.live import watched
from flowml.ops.launch.loading import load, split
from flowml.ops.launch.outcome import Outcome, error_in
from flowml.ops.launch.parameters import parameters, read
from flowml.ops.launch.stopping import CANCELLED, Stopped, cancel, stoppable
from flowml.ops.launch.summary import own_run, summary

if TYPE_CHECKING:
    import prefect

_CALLED = (
    "flowml: {} calls {} itself when it is loaded, so it runs {}. Put the call under "
    '`if __name__ == "__main__":`, and `flowml run` alone starts it.'
)


@dataclass(frozen=True, slots=True)
class Order:
    """How a flow is run, beside its parameters that are typed.

    Attributes:
        watch: Show its tasks while it runs, if somebody looks at the output.
        parameters: A file with more of its parameters, as a JSON object.
        outcome: A file that is told what came of it.
    """

    watch: bool = False
    parameters: Path | None = None
    outcome: Path | None = None


def run(entry: str, words: Sequence[str], order: Order) -> bool:
    """Run a flow and print its summary.

    Args:
        entry: Which one, as `load` takes it.
        words: Its parameters, as `parameters` takes them.
        order: How.

    Returns:
        Whether it completed.

    Raises:
        LookupError: If there is no such flow, or it cannot be called so.
    """
    with noted() as calls:
        flow = load(entry)
    values = read(order.parameters) if order.parameters else {}
    state = calls.state_of(flow)
    if state is not None:
        once_more = "once more with these parameters" if words or values or order.outcome else "once"
        output.note(_CALLED.format(split(entry)[0], flow.name, once_more))
        if once_more == "once":
            summary(flow.name, state, own_run(flow.name))
            return state == "Completed"
    arguments = parameters(flow, words, values)
    if order.outcome:
        return _told(flow, arguments, Outcome(order.outcome))
    seen = watched(flow.name) if order.watch and output.is_terminal() else nullcontext()
    with seen:
        state = state_of(flow, arguments)
    summary(flow.name, state, own_run(flow.name))
    return state == "Completed"


def _told(flow: prefect.Flow[Any, Any], arguments: dict[str, Any], outcome: Outcome) -> bool:
    """Run a flow for another program, which may stop it."""
    ended = Ended(CANCELLED)
    try:
        with stoppable():
            ended = ended_of(outcome.told_by(flow), arguments)
    except Stopped:
        pass
    run = own_run(flow.name)
    if ended.name == CANCELLED and ended.state is None:
        run = cancel(outcome.flow_run_id, run)
    result = asyncio.run(_awaited(ended.state.aresult())) if ended.state and ended.state.is_completed() else None
    outcome.write(flow.name, ended.name, run, result, error_in(run, ended.state) or ended.error)
    summary(flow.name, ended.name, run)
    return ended.name == "Completed"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call of a flow ended.

    Attributes:
        name: The name of the state that it ended in.
        state: The state, where Prefect gives one.
        error: Why it failed, where Prefect gives no state.
    """

    name: str
    state: Any = None
    error: str | None = None


def state_of(flow: prefect.Flow[Any, Any], arguments: dict[str, Any], first: Sequence[Any] = ()) -> str:
    """Call a flow; return the name of the state that it ended in, which for a failure Prefect has logged.

    Args:
        flow: The flow.
        arguments: Its parameters.
        first: Those that have no name of their own, as ``*rest`` takes them, and those before.
    """
    return ended_of(flow, arguments, first).name


def ended_of(flow: prefect.Flow[Any, Any], arguments: dict[str, Any], first: Sequence[Any] = ()) -> Ended:
    """Call a flow; return how it ended.

    Args:
        flow: The flow.
        arguments: Its parameters.
        first: Those that have no name of their own, as ``*rest`` takes them, and those before.
    """
    try:
        if flow.isgenerator:  # Prefect gives its values and no state
            values = flow(*first, **arguments)
            asyncio.run(_exhaust(values)) if flow.isasync else list(values)
            return Ended("Completed")
        ended: Any = flow(*first, **arguments, return_state=True)
        state = asyncio.run(_awaited(ended)) if flow.isasync else ended
    except KeyboardInterrupt:
        return Ended("Crashed")
    except Exception as error:  # noqa: BLE001 - the user's, or Prefect's before the flow began
        sys.stderr.write(traceback.format_exc())
        return Ended("Failed", error=f"{type(error).__name__}: {error}")
    return Ended("Completed" if state.is_completed() else str(state.name), state)


async def _awaited(coroutine: Any) -> Any:
    return await coroutine


async def _exhaust(values: Any) -> None:
    async for _ in values:
        pass
