"""The program that runs a flow again: in the environment, the folder and with the settings that it was started with."""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowml.capture.engine.attempt import hints_of
from flowml.ops.launch.loading import load
from flowml.ops.launch.parameters import split, typed
from flowml.ops.launch.start import state_of
from flowml.provenance.files import REPRODUCES


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """What is to be run.

    Attributes:
        entry: The flow, as `load` takes it.
        run_id: The run that it repeats.
        values: The parameters that were recorded.
        words: Others, as they are typed: ``name=value``.
    """

    entry: str
    run_id: str
    values: dict[str, Any]
    words: list[str]


def replay(order: Order) -> bool:
    """Run a flow again; tell whether it completed.

    Raises:
        LookupError: If there is no such flow, or it cannot be called so.
    """
    flow: Any = load(order.entry)
    track = getattr(flow, "track", None)
    if track is None:
        msg = f"The flow {flow.name!r} is not tracked, so there is nothing to compare."
        raise LookupError(msg)
    hints = hints_of(flow.fn)
    given = {name: typed(name, text, hints.get(name, Any)) for name, text in split(order.words, example="n").items()}
    # The experiment comes from the environment then, and not from the flow.
    again = dataclasses.replace(track, experiment=None, tags={**track.tags, REPRODUCES: order.run_id})
    args, kwargs = _call_of(flow.fn, {**order.values, **given})
    return state_of(flow.with_options(track=again), kwargs, args) == "Completed"


def _call_of(function: Callable[..., Any], values: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return how a function is called with its parameters: ``*rest`` and ``**more`` are one of Prefect's each."""
    from prefect.utilities.callables import parameters_to_args_kwargs

    known = {name: value for name, value in values.items() if name in inspect.signature(function).parameters}
    args, kwargs = parameters_to_args_kwargs(function, known)
    return args, kwargs | {name: value for name, value in values.items() if name not in known}


def main() -> None:
    """Run what the named file says; end with 2 if that cannot be, with 1 if the flow did not complete."""
    told = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    try:
        is_completed = replay(Order(**told))
    except LookupError as error:
        sys.stderr.write(f"flowml: {error}\n")
        sys.exit(2)
    sys.exit(0 if is_completed else 1)


if __name__ == "__main__":
    main()
