"""What is told of a call, as plain values that the task's thread puts together: cheap, and without the client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from flowml import records

EventType: TypeAlias = Literal["START", "RUNNING", "COMPLETE", "FAIL", "ABORT"]
Kind: TypeAlias = Literal["TABLE", "FILE", "MODEL", "SOURCE"]


@dataclass(frozen=True, slots=True)
class Data:
    """A data set that a call read or made.

    Attributes:
        name: Its name among what flows make; of a file its path, of a source its address.
        kind: What it is.
        digest: Its fingerprint, where flowml has described it.
        version: Which version it is, where that is said.
        schema: Its columns or tensors, in MLflow's form.
        about: The type that it was described from.
    """

    name: str
    kind: Kind
    digest: str = ""
    version: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What is told at one moment of a call.

    Attributes:
        kind: What happened.
        when: When, in milliseconds since 1970.
        identity: Which call it is.
        ids: Its run, and the outermost one.
        above: The run that it was called in.
        inputs: What it read.
        outputs: What it made.
        error: Why it failed.
        trace: The traceback.
    """

    kind: EventType
    when: int
    identity: records.Identity
    ids: records.LineageIds
    above: records.LineageIds | None
    inputs: tuple[Data, ...]
    outputs: tuple[Data, ...]
    error: str = ""
    trace: str = ""
