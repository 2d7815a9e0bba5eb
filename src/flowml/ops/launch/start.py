"""Runs a flow from the command line, to its end."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from flowml.ops import output
from flowml.ops.launch.calls import noted
from flowml.ops.launch.live import watched
from flowml.ops.launch.loading import load, split
from flowml.ops.launch.parameters import parameters
from flowml.ops.launch.summary import own_run, summary

if TYPE_CHECKING:
    import prefect

_CALLED = (
    "flowml: {} calls {} itself when it is loaded, so it runs {}. Put the call under "
    '`if __name__ == "__main__":`, and `flowml run` alone starts it.'
)


def run(entry: str, words: Sequence[str], *, watch: bool) -> bool:
    """Run a flow and print its summary.

    Args:
        entry: Which one, as `load` takes it.
        words: Its parameters, as `parameters` takes them.
        watch: Show its tasks while it runs, if somebody looks at the output.

    Returns:
        Whether it completed.

    Raises:
        LookupError: If there is no such flow, or it cannot be called so.
    """
    with noted() as calls:
        flow = load(entry)
    state = calls.state_of(flow)
    if state is not None:
        output.note(_CALLED.format(split(entry)[0], flow.name, "once more with these parameters" if words else "once"))
        if not words:
            summary(flow.name, state, own_run(flow.name))
            return state == "Completed"
    arguments = parameters(flow, words)
    seen = watched(flow.name) if watch and output.is_terminal() else nullcontext()
    with seen:
        state = state_of(flow, arguments)
    summary(flow.name, state, own_run(flow.name))
    return state == "Completed"


def state_of(flow: prefect.Flow[Any, Any], arguments: dict[str, Any], first: Sequence[Any] = ()) -> str:
    """Call a flow; return the name of the state that it ended in, which for a failure Prefect has logged.

    Args:
        flow: The flow.
        arguments: Its parameters.
        first: Those that have no name of their own, as ``*rest`` takes them, and those before.
    """
    try:
        if flow.isgenerator:  # Prefect gives its values and no state
            values = flow(*first, **arguments)
            asyncio.run(_exhaust(values)) if flow.isasync else list(values)
            return "Completed"
        ended: Any = flow(*first, **arguments, return_state=True)
        state = asyncio.run(_awaited(ended)) if flow.isasync else ended
    except KeyboardInterrupt:
        return "Crashed"
    except Exception:  # noqa: BLE001 - the user's, or Prefect's before the flow began
        sys.stderr.write(traceback.format_exc())
        return "Failed"
    return "Completed" if state.is_completed() else str(state.name)


async def _awaited(coroutine: Any) -> Any:
    return await coroutine


async def _exhaust(values: Any) -> None:
    async for _ in values:
        pass
