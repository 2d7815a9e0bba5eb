"""What is told of one run: its state, its times, its metrics, its pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol

from flowml import formats
from flowml.formats import short_duration
from flowml.ops.prefect_states import FLOW_RUN, TASK_RUN
from flowml.store.flow_end.child_runs import NO_END
from flowml.store.usage import sums as usage
from flowml.store.usage.sums import Usage

if TYPE_CHECKING:
    from mlflow.entities import Run

_STATES = {"FINISHED": "Completed", "FAILED": "Failed", "KILLED": "Killed", "SCHEDULED": "Pending"}
_KEY = 4  # metrics in a line


class Paged(Protocol):
    """A store whose runs may have pages."""

    @property
    def uri(self) -> str:
        """Its tracking URI."""

    def page_of(self, experiment_id: str, run_id: str) -> str | None:
        """Return the address of a run's page in MLflow's UI, or None when no server is known."""


@dataclass(frozen=True, slots=True)
class Pages:
    """Where a run is to be seen.

    Attributes:
        prefect: Its page in Prefect's UI; None where no server has one.
        mlflow: Its page in MLflow's UI; None where no server is known.
    """

    prefect: str | None
    mlflow: str | None


def pages(store: Paged, run: Run) -> Pages:
    """Return the pages of a run."""
    tags: dict[str, str] = run.data.tags
    prefect = tags.get("prefect.task_run_url") or tags.get("prefect.flow_run_url") or ""
    safe = prefect if prefect.startswith(("http://", "https://")) else None  # anybody can set a tag
    return Pages(safe, store.page_of(run.info.experiment_id, run.info.run_id))


def name_of(run: Run) -> str:
    """Return a run's name."""
    return str(run.info.run_name or run.info.run_id)


def owner_of(run: Run) -> str:
    """Return the name of the task or flow whose run it is; empty for one that was opened by hand."""
    tags = run.data.tags
    return str(tags.get("prefect.task_name") or tags.get("prefect.flow_name") or "") if "flowml.kind" in tags else ""


def state_of(run: Run) -> str:
    """Return the state as Prefect names it; as MLflow's status says, for a run of the user's own or a killed one."""
    if run.info.status == "RUNNING":
        paused = run.data.tags.get("prefect.state")
        return paused if paused in {"Paused", "Suspended"} else "Running"
    prefect_state = run.data.tags.get("prefect.state") if "flowml.kind" in run.data.tags else None
    if prefect_state and prefect_state not in NO_END:
        return str(prefect_state)
    return _STATES.get(run.info.status, str(run.info.status))


def seconds_of(run: Run) -> float:
    """Return how long it took, or how long it has been running."""
    ended = run.info.end_time or formats.now()
    return max(0.0, float(ended - run.info.start_time) / 1000)


def took(run: Run) -> str:
    """Return how long it took, for a line or a column in the terminal."""
    return short_duration(seconds_of(run))


def started(run: Run) -> datetime:
    """Return when it began."""
    return datetime.fromtimestamp(run.info.start_time / 1000, tz=timezone.utc)


def usage_of(run: Run) -> Usage:
    """Return what it asked of language models."""
    return usage.in_tags(run.data.tags)


def own_metrics(run: Run) -> dict[str, float]:
    """Return the metrics that a run logged itself: a flow's run repeats its tasks' as ``<task>.<metric>``.

    Tokens and cost are told apart from them, as `usage_of` returns them.
    """
    is_flow = run.data.tags.get("flowml.kind") == "flow"
    return {key: value for key, value in _metrics(run).items() if not is_flow or "." not in key}


def metrics_text(run: Run, most: int = _KEY) -> str:
    """Return the first metrics in a line; those of a flow's tasks where it has none of its own."""
    shown = own_metrics(run) or _metrics(run)
    texts = [f"{key}={value:.4g}" for key, value in list(shown.items())[:most]]
    left = len(shown) - len(texts)
    return "  ".join([*texts, f"+{left} more"] if left else texts)


def _metrics(run: Run) -> dict[str, float]:
    told = usage.METRICS if usage.TAG in run.data.tags else ()
    return {key: value for key, value in sorted(run.data.metrics.items()) if key not in told}


def remarks_of(run: Run, attempts: int = 1) -> list[str]:
    """Return what else is to be said of a run: which attempt it is, and whether its result is its own.

    Args:
        run: The run.
        attempts: How many attempts there were.
    """
    tags = run.data.tags
    attempt = tags.get("flowml.attempt", "1")
    remarks = [f"attempt {attempt}" + (f" of {attempts}" if attempts > 1 else "")]
    remarks = remarks if attempts > 1 or attempt != "1" else []
    remarks += ["superseded"] if tags.get("flowml.superseded") == "true" else []
    remarks += ["cached"] if tags.get("flowml.cached") == "true" else []
    remarks += ["rolled back"] if "flowml.rolled_back" in tags else []
    return remarks if "flowml.kind" in tags else ["opened by hand"]


def as_data(store: Paged, run: Run) -> dict[str, Any]:
    """Return all of it as plain values."""
    tags, links = run.data.tags, pages(store, run)
    return {
        "name": name_of(run),
        "kind": tags.get("flowml.kind"),
        "flow": tags.get("prefect.flow_name"),
        "task": tags.get("prefect.task_name"),
        "state": state_of(run),
        "status": run.info.status,
        "started": started(run).isoformat(timespec="milliseconds"),
        "seconds": round(seconds_of(run), 3),
        "attempt": int(attempt) if (attempt := tags.get("flowml.attempt", "1")).isdecimal() else 1,
        "superseded": tags.get("flowml.superseded") == "true",
        "cached": tags.get("flowml.cached") == "true",
        "error": tags.get("flowml.error"),
        "metrics": dict(sorted(run.data.metrics.items())),
        "usage": usage_of(run).as_data(),
        "mlflow_run_id": run.info.run_id,
        "mlflow_experiment_id": run.info.experiment_id,
        "prefect_flow_run_id": tags.get(FLOW_RUN),
        "prefect_task_run_id": tags.get(TASK_RUN),
        "mlflow_url": links.mlflow,
        "prefect_url": links.prefect,
    }
