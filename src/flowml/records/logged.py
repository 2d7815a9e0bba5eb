"""What can be logged, a class for each kind of thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

Role: TypeAlias = Literal["input", "output"]


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
