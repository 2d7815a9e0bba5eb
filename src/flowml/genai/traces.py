"""What traces tell when they are taken together: how many, how slow, what failed, tokens and cost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from flowml import formats
from flowml.capture.reading import connection_here
from flowml.errors import EvaluationError, did_you_mean
from flowml.serving.monitoring.measured import percentiles
from flowml.store.by_hand.spans import usage_of
from flowml.store.usage.sums import Usage

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Trace

_PAGE = 100  # traces with their spans, which may be large


def trace_metrics(
    experiment: str, *, since: datetime | None = None, until: datetime | None = None, limit: int = 1_000
) -> dict[str, float]:
    """Return what the traces of an experiment tell together, such as those of the last hour.

    Args:
        experiment: The experiment's name; of a flow that names none, it is the flow's.
        since: The earliest time at which a trace began. Default: any.
        until: The time before which it began. Default: now.
        limit: The most traces; the newest are read.

    Returns:
        ``traces`` and ``errors``, both counts; ``milliseconds.p50`` and ``.p99`` of those that are over; and where
        language models were asked, ``tokens_input``, ``tokens_output``, ``tokens_cached``, and ``cost_usd`` if every
        price is known.

    Raises:
        EvaluationError: If there is no such experiment.

    Example:
        >>> flowml.log_metrics(flowml.trace_metrics("support", since=an_hour_ago))
    """
    client = connection_here().client
    found = client.get_experiment_by_name(experiment)
    if found is None:
        names = [each.name for each in client.search_experiments()]
        msg = f"There is no experiment {experiment!r}. {did_you_mean(experiment, names)}".rstrip()
        raise EvaluationError(msg)
    first = int(since.timestamp() * 1000) if since else 0
    last = int(until.timestamp() * 1000) if until else formats.now()
    count, errors, took, used = 0, 0, list[float](), Usage()
    for trace in _traces(client, found.experiment_id, first, last, limit):
        count += 1
        errors += trace.info.state == "ERROR"
        if trace.info.execution_duration is not None:
            took.append(float(trace.info.execution_duration))
        used += usage_of(trace.data.spans)
    metrics = {"traces": float(count), "errors": float(errors)}
    if took:
        metrics |= percentiles(took)
    return metrics | (used.metrics() if used else {})


def _traces(client: MlflowClient, experiment_id: str, first: int, last: int, limit: int) -> Iterator[Trace]:
    token: str | None = None
    left = limit
    while left > 0 and token != "":
        page = client.search_traces(
            locations=[experiment_id],
            filter_string=f"timestamp_ms >= {first} AND timestamp_ms < {last}",
            order_by=["timestamp_ms DESC"],
            max_results=min(_PAGE, left),
            page_token=token,
        )
        yield from page
        left, token = left - len(page), page.token or ""
