"""A run as it is read, with the names of MLflow's ``Run``: who looks at it need not know who read it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Info:
    """What MLflow's ``RunInfo`` tells, under the same names."""

    run_id: str
    experiment_id: str
    run_name: str
    status: str
    start_time: int
    end_time: int | None
    lifecycle_stage: str


@dataclass(frozen=True, slots=True)
class Data:
    """What MLflow's ``RunData`` tells, under the same names."""

    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A run, as MLflow's ``Run`` shows it."""

    info: Info
    data: Data
