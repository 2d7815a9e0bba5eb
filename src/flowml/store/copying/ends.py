"""The two stores of a copy, and what was copied."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from flowml.secrets import mask
from flowml.secrets.uris import without_credentials
from flowml.store.backend.retrying import may_pass

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.tracing.client import TracingClient

T = TypeVar("T")


@dataclass(frozen=True)
class Ends:
    """Where is copied from, and where to.

    Attributes:
        source: MLflow's client of the store that is read; what was copied is noted there.
        target: MLflow's client of the store that is written.
        traces: What writes traces there. MLflow's documented client can only begin traces that happen now.
        registry_apart: Whether registered models have a store of their own there.
    """

    source: MlflowClient
    target: MlflowClient
    traces: TracingClient
    registry_apart: bool = False

    @cached_property
    def to(self) -> str:
        """The store that is written, without credentials."""
        return without_credentials(self.target.tracking_uri)


@dataclass(slots=True)
class Copied:
    """What was copied, and what was not.

    Attributes:
        runs: How many runs are complete there now that were not before.
        points: How many points of metrics were sent.
        files: How many artifacts.
        models: How many logged models.
        versions: How many versions of registered models.
        prompts: How many versions of prompts.
        traces: How many traces.
        running: How many runs are not over, and were copied as far as they are.
        unfinished_models: How many logged models are still being written.
        deleted: The ids of runs whose copy somebody deleted.
        before: How many runs were copied already.
        refused: The versions that the registry did not take, prompts, and files; they are told of again each time.
    """

    runs: int = 0
    points: int = 0
    files: int = 0
    models: int = 0
    versions: int = 0
    prompts: int = 0
    traces: int = 0
    running: int = 0
    unfinished_models: int = 0
    deleted: list[str] = field(default_factory=list)
    before: int = 0
    refused: list[str] = field(default_factory=list)

    def refuse_files(self, of: str, names: list[str]) -> None:
        """Note files that cannot be there under their names."""
        if names:
            told = ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if names[3:] else "")
            self.refused.append(
                f"{told} of {of}: a server's addresses cannot have such names. Name them without #, ? and %."
            )

    @contextmanager
    def refusing(self, what: str) -> Iterator[None]:
        """Note something that the other store refuses for good, and go on with the rest.

        Raises:
            Exception: What MLflow raises and may pass.
        """
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            if may_pass(error):
                raise
            self.refused.append(f"{what}: {mask(str(error))[:300]}")

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dataclasses.asdict(self)


def existing(get: Callable[[str], T], which: str) -> T | None:
    """Ask a store for something by its id or name; None if there is no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return get(which)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
