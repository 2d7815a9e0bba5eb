"""Whose things are: a call, who called it, its run, and what that holds at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

Status: TypeAlias = Literal["FINISHED", "FAILED", "KILLED"]
Children: TypeAlias = Literal["all", "failed", "none"]


@dataclass(frozen=True, slots=True)
class CurrentRun:
    """The MLflow run of one flow or task.

    Attributes:
        run_id: Its id.
        experiment_id: The id of its experiment.
        root_run_id: The id of the outermost flow's run.
        url: Its page in MLflow's UI; None when no server is known.
    """

    run_id: str
    experiment_id: str
    root_run_id: str
    url: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a flow's run holds when it has ended, for the page of the flow run in the orchestrator.

    Attributes:
        run: The run; None if it is not created yet.
        name: What it is called.
        state: The orchestrator's name for how it ended.
        seconds: How long it took.
        params: Its parameters.
        metrics: The last value of each metric, its children's among them.
        models: The versions that were registered in it and in its children: name, version and alias.
        problems: What could not be sent, and why.
        waiting: How many runs have something that is not sent yet.
    """

    run: CurrentRun | None
    name: str
    state: str
    seconds: float
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    models: tuple[RegisteredModel, ...] = ()
    problems: tuple[str, ...] = ()
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A version of a registered model."""

    name: str
    version: str
    alias: str | None = None


class SpanIds(NamedTuple):
    """Which span of which trace, by their ids in hexadecimal, without MLflow's prefix."""

    trace: str
    span: str


class LineageIds(NamedTuple):
    """A run as a catalogue of lineage knows it, and the outermost one that it belongs to.

    Attributes:
        run: The id of the run.
        job: The name of what was run: a flow's, or ``flow.task``.
        namespace: Where that name is one.
        root: The id of the outermost run.
        root_job: The name of what that ran.
        root_namespace: Where that name is one.
    """

    run: str
    job: str
    namespace: str
    root: str
    root_job: str
    root_namespace: str


@dataclass(frozen=True, slots=True)
class Caller:
    """What a call in another process needs to know of the run it belongs under; it holds no credentials.

    Attributes:
        run: The run that the call was made in; None if nothing is tracked there.
        tracking_uri: The store that the run is in, without credentials.
        registry_uri: The model registry, if it is another.
        tag: Finds the run that the call was made in, where it was not yet created and ``run`` is the root above it.
        children: Which of the calls made in it get runs of their own.
        key: Finds the run in MLflow, or in a journal, where MLflow cannot be reached.
        span: The trace that the call was made in, and the span, by their ids; None if it is not traced.
        foreign_tasks: Whether plain Prefect tasks that are called in it are tracked.
        lineage: The call as a catalogue of lineage knows it; None if there is none.
        delay_key: The key of the outermost run, by which its processes tell each other how long they waited for MLflow.
    """

    run: CurrentRun | None
    tracking_uri: str
    registry_uri: str | None = None
    tag: tuple[str, str] | None = None
    children: Children = "all"
    key: str | None = None
    span: SpanIds | None = None
    foreign_tasks: bool = False
    lineage: LineageIds | None = None
    delay_key: str | None = None

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Caller:
        """Read what another process told, as `write` and JSON have it.

        Args:
            told: The fields; others are passed over.
        """
        run, tag, span, lineage = told["run"], told["tag"], told.get("span"), told.get("lineage")
        return cls(
            CurrentRun(**run) if run else None,
            told["tracking_uri"],
            told["registry_uri"],
            (tag[0], tag[1]) if tag else None,
            told["children"],
            told.get("key"),
            SpanIds(*span) if span else None,
            bool(told.get("foreign_tasks")),
            LineageIds(*lineage) if lineage else None,
            str(told["delay_key"]) if told.get("delay_key") else None,
        )

    def write(self) -> dict[str, Any]:
        """Return what `read` reads, for JSON; ``dataclasses.asdict`` does the same in ten times the time."""
        told = {name: getattr(self, name) for name in self.__slots__}
        if self.run:
            told["run"] = {name: getattr(self.run, name) for name in self.run.__slots__}
        return told


@dataclass(frozen=True, slots=True)
class Function:
    """Where a flow's function is written, and by which name it is found there.

    Attributes:
        file: Its file.
        module: Its module, as it was imported.
        name: The variable that holds the flow; None for one that is made inside a function.
    """

    file: str | None
    module: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose run it is: what a run is called, where it belongs, and the tags that lead back to the orchestrator."""

    name: str
    kind: Literal["flow", "task"]
    owner: str  # the flow's or task's own name: names the experiment of a root run, and its metrics
    attempt: int
    started: int  # when the attempt began, in milliseconds since 1970
    source: str | None  # the file that the function was written in
    tags: Mapping[str, str]
    tag: tuple[str, str]  # the one that finds it
    retries: int = 0  # how often a flow may be tried again, in the same run
    about: str = ""  # what its docstring says
    function: Function | None = None  # of a flow
    since: int | None = None  # when a flow run began, if this is not its first attempt, or it was suspended
