"""What a check is given, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import prefect

Severity = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found.

    Attributes:
        severity: Whether flows lose something by it now (error), may under some circumstances (warning), or not (ok).
        message: What was found.
        remedy: What to do about it; empty if nothing is to be done.
        check: The check that found it.
    """

    severity: Severity
    message: str
    remedy: str = ""
    check: str = ""


@dataclass(frozen=True, slots=True)
class Setup:
    """What is examined.

    Attributes:
        api: The address of Prefect's API; None if flows start a server of their own.
        uri: MLflow's tracking URI, with credentials.
        flow: The flow that is looked after in particular, if any.
        with_worker: Whether a worker process is started, to ask from inside it.
    """

    api: str | None
    uri: str
    flow: prefect.Flow[Any, Any] | None = None
    with_worker: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether runs are to be kept in plain folders."""
        has_scheme = ":" in self.uri and not self.uri.startswith("file:")
        return not has_scheme and not self.uri.startswith("databricks")
