"""The vocabulary of flowml: the things that can be logged, and who they belong to.

``describe`` turns values into records, ``store`` writes them to MLflow, and neither knows the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

Role: TypeAlias = Literal["input", "output"]
Status: TypeAlias = Literal["FINISHED", "FAILED", "KILLED"]
Children: TypeAlias = Literal["all", "failed", "none"]


@dataclass(frozen=True, slots=True)
class Param:
    """One value that went into a run, as text."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Metric:
    """One number at one step."""

    key: str
    value: float
    step: int = 0


@dataclass(frozen=True, slots=True)
class Tag:
    """A note about the run itself."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A table, array or matrix that a run read or made: its shape and fingerprint, not its content."""

    name: str
    role: Role
    digest: str  # at most 36 characters, MLflow's limit
    kind: str  # the type it was described from, such as "pandas.DataFrame"
    schema: Mapping[str, Any]  # in MLflow's form: {"mlflow_colspec": [...]} or {"mlflow_tensorspec": {...}}
    profile: Mapping[str, Any]  # {"num_rows": 569, "num_elements": 17070, ...}
    source: str | None = None  # the address that it was read from, without credentials
    revision: str | None = None  # which version of that it was


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model that a run made."""

    name: str
    value: Any
    flavor: str  # the MLflow module that can save it, such as "sklearn"
    inputs: Mapping[str, Any] = field(default_factory=dict)  # what the task was given; the signature comes from it
    register: str | None = None
    alias: str | None = None
    trust: tuple[str, ...] = ()
    is_named: bool = False  # whether the user's marker names it


@dataclass(frozen=True, slots=True)
class ModelInput:
    """A model that a run was given; linked to the run that logged it when that is known."""

    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class PromptInput:
    """A version of a prompt that a run was given.

    Attributes:
        name: The prompt's name.
        version: The version's number.
        value: The version itself, which traces are linked with.
    """

    name: str
    version: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class LinkedPrompt:
    """A version of a prompt that is to be linked to a run, and to the models that it makes."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class ByHand:
    """Parameters that the user's code has logged by hand inside the call; they are not logged again.

    Attributes:
        elsewhere: To runs of the user's own.
        here: To the call's own run, where another value has to stand beside it under another name.
    """

    elsewhere: Mapping[str, str]
    here: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reused:
    """A result that came from a cache, made by another run; the key is where it is kept."""

    key: str


@dataclass(frozen=True, slots=True)
class Span:
    """One span of a trace, in the form in which MLflow writes spans as JSON.

    Attributes:
        fields: The span.
        of: The key of the run of the same call, which is named on the span; empty if it has none.
    """

    fields: Mapping[str, Any]
    of: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace that is over, but for its spans; the run that it is logged to is its source.

    Attributes:
        trace_id: Its id in MLflow.
        name: What it is called.
        started: When it began, in milliseconds since 1970.
        ended: When it ended.
        is_ok: Whether it ended well.
        request: What went in, in short.
        response: What came out, in short.
        tags: Its tags.
        metadata: Its metadata.
    """

    trace_id: str
    name: str
    started: int
    ended: int
    is_ok: bool
    request: str
    response: str
    tags: Mapping[str, str]
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Lost:
    """Something that could not be logged: it is told in the log, and in a tag of the run.

    Attributes:
        name: What it would have been called.
        what: What could not be done, after "could not".
        why: The reason, and what to do.
    """

    name: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Hidden:
    """How many secrets were masked in, or left out of, what one call logs: a later number of the same call counts."""

    call: str
    count: int


@dataclass(frozen=True, slots=True)
class Text:
    """A text file among the run's artifacts."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Blob:
    """A binary file among the run's artifacts."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class File:
    """A file or folder on this machine, to be copied to the run's artifacts.

    Of a folder its files are, and links from one of them to another; nothing that leads out of it.
    """

    path: str  # the folder among the artifacts, "" for the top
    source: Path
    name: str = ""  # what it is called there; its own name if empty


@dataclass(frozen=True, slots=True)
class Digest:
    """The size and SHA-256 of a file or folder that is too large to be logged: parameters, when they are known.

    Attributes:
        key: What the parameters' keys begin with.
        source: The file or folder.
        changed: When it had last been changed, as it is to be known, in nanoseconds since 1970; of a folder, now.
    """

    key: str
    source: Path
    changed: int


@dataclass(frozen=True, slots=True)
class Remark:
    """A line for the user's log: what was done otherwise than asked, why, and what to do.

    Attributes:
        about: Of several remarks about the same in one flow run, the first is logged.
        text: The line.
    """

    about: str
    text: str


Record: TypeAlias = (
    Param
    | Metric
    | Tag
    | Dataset
    | Model
    | ModelInput
    | PromptInput
    | LinkedPrompt
    | Reused
    | ByHand
    | Hidden
    | Span
    | Trace
    | Lost
    | Text
    | Blob
    | File
    | Digest
    | Remark
)


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

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Caller:
        """Read what another process told, as ``dataclasses.asdict`` and JSON write it.

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
        )


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
    goes_on: bool = False  # whether there may be a run of it already, of an earlier attempt or before it was suspended
