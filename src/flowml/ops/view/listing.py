"""``flowml runs``: one line per flow run, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from flowml.errors import nearest_or_some
from flowml.ops import output
from flowml.ops.prefect_api import batched
from flowml.ops.runs import Readable, Store, quoted, reading
from flowml.ops.view import facts
from flowml.secrets import mask
from flowml.store.backend.failures import explained
from flowml.store.backend.urls import FLOWS
from flowml.store.usage.sums import dollars

if TYPE_CHECKING:
    from mlflow.entities import Run

_OF_USAGE = ("tokens", "cost")  # where a language model was asked
_TITLES = ("run", "flow", "state", "started", "took", *_OF_USAGE, "metrics", "Prefect", "MLflow")


def listing(flow: str | None, *, last: int, subflows: bool, as_json: bool) -> None:
    """Print the newest flow runs.

    Args:
        flow: Only those of this flow.
        last: How many at most.
        subflows: Also those that other flows called.
        as_json: Print JSON.

    Raises:
        LookupError: If there is no run of that flow.
        TrackingError: If MLflow cannot be reached.
    """
    store = reading()
    with explained(store.uri):
        found = flow_runs(store, flow, last=last, subflows=subflows)
        if flow and not found:
            raise LookupError(_no_run_of(store, flow))
    if as_json:
        output.data([facts.as_data(store, run) for run in found])
    else:
        has_usage = any(facts.usage_of(run) for run in found)
        titles = _TITLES if has_usage else tuple(title for title in _TITLES if title not in _OF_USAGE)
        output.rows(titles, (_line(store, run, has_usage=has_usage) for run in found))


def flow_runs(store: Store, flow: str | None = None, *, last: int, subflows: bool = False) -> list[Run]:
    """Return the newest flow runs, newest first."""
    runs, mine = store.runs, FLOWS
    if flow is not None:
        name = quoted(flow)
        if name is None:
            return []
        mine += f" and tags.`prefect.flow_name` = {name}"
    found = runs.newest(mine, page=min(max(last, 1), 1000))
    return list(islice(found if subflows else _outermost(runs, found), last))


def _outermost(runs: Readable, found: Iterable[Run]) -> Iterator[Run]:
    """Leave out the flow runs that a flow or task of flowml's called; one under a run of the user's own stays."""
    for some in batched(found, 50):
        above = {run.data.tags.get("mlflow.parentRunId", "") for run in some}
        known = runs.some(run_id for run_id in above if run_id.isalnum())  # anybody can set the tag, to anything
        callers = {run.info.run_id for run in known if "flowml.kind" in run.data.tags}
        yield from (run for run in some if run.data.tags.get("mlflow.parentRunId") not in callers)


def _line(store: facts.Paged, run: Run, *, has_usage: bool) -> tuple[object, ...]:
    pages = facts.pages(store, run)
    named = (facts.name_of(run), facts.owner_of(run), facts.state_of(run))
    took, metrics = (facts.took(run), *(_usage(run) if has_usage else ())), facts.metrics_text(run)
    if not output.is_terminal():
        began = facts.started(run).isoformat(timespec="seconds")
        return (*named, began, *took, metrics, pages.prefect or "-", pages.mlflow or "-")
    began = facts.started(run).astimezone().strftime("%m-%d %H:%M:%S")
    links = [output.cell("open" if page else "-", link=page) for page in (pages.prefect, pages.mlflow)]
    return (*named, began, *took, metrics, *links)


def _usage(run: Run) -> tuple[str, str]:
    """Tell tokens in and out, and the cost: that of models without a price is unknown."""
    used = facts.usage_of(run)
    if not used:
        return "-", "-"
    unknown = f"{dollars(used.known_cost)} + unknown" if used.known_cost else "unknown"
    cost = unknown if used.unpriced else dollars(used.known_cost)
    return f"{used.total.input:,} → {used.total.output:,}", cost


def _no_run_of(store: Store, flow: str) -> str:
    names = [facts.owner_of(run) for run in flow_runs(store, last=200, subflows=True)]
    msg = f"MLflow at {mask(store.uri)} holds no run of a flow named {flow!r}. "
    return msg + (nearest_or_some(flow, list(dict.fromkeys(names))) or "Run it first.")
