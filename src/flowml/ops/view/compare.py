"""``flowml compare``: params and metrics of several runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowml.ops import output
from flowml.ops.runs import reading
from flowml.ops.view import facts
from flowml.ops.view.finding import find

if TYPE_CHECKING:
    from mlflow.entities import Run

_FEWEST = 2


def compare(named: Sequence[str], *, diff: bool, as_json: bool) -> None:
    """Print what several runs were given and gave, side by side, with the differences marked.

    Args:
        named: The runs, each as `show` takes it.
        diff: Only what differs.
        as_json: Print JSON.

    Raises:
        LookupError: If one does not exist, or there are fewer than two.
        TrackingError: If MLflow cannot be reached.
    """
    if len(named) < _FEWEST:
        msg = (
            f"It takes two runs or more to compare; there is only {named[0]!r}." if named else "Name two runs or more."
        )
        raise LookupError(msg)
    store = reading()
    found = [find(store, one) for one in named]
    runs = [one.run for one in found]
    params = _rows([run.data.params for run in runs], diff=diff)
    metrics = _rows([run.data.metrics for run in runs], diff=diff)
    if as_json:
        output.data(
            {
                "runs": [facts.as_data(store, run) for run in runs],
                "params": params,
                "metrics": metrics,
                "different": {"params": _different(params), "metrics": _different(metrics)},
            }
        )
        return
    lines = [*_lines("param", params), *_lines("metric", metrics)]
    output.rows(("", "", "", *map(_title, runs)), lines, headed=True)
    for one in found:
        if one.note:
            output.note(f"{facts.name_of(one.run)}: {one.note}")
    same = not any(line[0] == "*" for line in lines)
    output.note("They do not differ." if same else "* differs")


def _rows(sides: Sequence[Mapping[str, Any]], *, diff: bool) -> dict[str, list[Any]]:
    """Return the values of each key on all sides; None where a side has none."""
    keys = sorted({key for side in sides for key in side})
    every = {key: [side.get(key) for side in sides] for key in keys}
    return {key: values for key, values in every.items() if not diff or _differ(values)}


def _differ(values: Sequence[Any]) -> bool:
    return len({repr(value) for value in values}) > 1  # NaN is like NaN here


def _different(rows: Mapping[str, Sequence[Any]]) -> list[str]:
    return [key for key, values in rows.items() if _differ(values)]


def _lines(kind: str, rows: Mapping[str, Sequence[Any]]) -> list[tuple[object, ...]]:
    return [("*" if _differ(values) else "", kind, key, *map(_text, values)) for key, values in rows.items()]


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _title(run: Run) -> str:
    return f"{facts.name_of(run)} ({run.info.run_id[:8]})"
