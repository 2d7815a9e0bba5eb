"""The files of a flow's run that tell how to run it again, and what stands in them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

FOLDER = "reproduce"
RUN = f"{FOLDER}/run.json"
DIFF = f"{FOLDER}/diff.patch"
LOCK = f"{FOLDER}/requirements.txt"

COMMIT = "mlflow.source.git.commit"
ENTRYPOINT = "flowml.entrypoint"
DIRTY = "flowml.dirty"
REPRODUCES = "flowml.reproduces"


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a flow was given.

    Attributes:
        values: Those that JSON holds, by name.
        masked: The names of those in which a secret is masked.
        missing: Why others are not among the values, by name.
    """

    values: dict[str, Any] = field(default_factory=dict)
    masked: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Code:
    """Which code a flow was run from.

    Attributes:
        commit: The commit that was checked out; None without a repository.
        dirty: Whether files were changed since; None without a repository.
        diff: ``none``, ``whole``, ``masked`` where a secret was taken out of it, or why there is none.
        left_out: Untracked files that are in neither, the first ones.
    """

    commit: str | None = None
    dirty: bool | None = None
    diff: str = "none"
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Origin:
    """All that is told of how a flow was run, beside the diff and the lock.

    Attributes:
        entrypoint: ``path.py:name``, relative to the repository; ``package.module:name``; None if nothing finds it.
        folder: The folder that it was run in, relative to the repository or, outside of it, absolute.
        python: Python's version.
        platform: The system and the processor.
        hash_seed: ``PYTHONHASHSEED``, if it was set.
        code: Which code.
        parameters: With what.
    """

    entrypoint: str | None
    folder: str
    python: str
    platform: str
    hash_seed: str | None
    code: Code
    parameters: Parameters

    def as_data(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Origin:
        """Read it again.

        Raises:
            TypeError: If it is something else.
            KeyError: If something of it is missing.
        """
        inner = {"code": Code(**data["code"]), "parameters": Parameters(**data["parameters"])}
        return cls(**{**data, **inner})
