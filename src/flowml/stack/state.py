"""What ``stack.json`` says: which local servers the project has, and where they answer.

`flowml up` writes it, and each flow reads it; so reading is cheap, and asks no server.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from flowml import settings
from flowml.stack.processes import Process

FILE = "stack.json"


@dataclass(frozen=True, slots=True)
class Server:
    """One server.

    Attributes:
        name: ``prefect`` or ``mlflow``.
        url: Where people and clients of this machine reach it.
        process: Its process.
        log: The file with its output.
    """

    name: str
    url: str
    process: Process
    log: str

    def is_alive(self) -> bool:
        """Tell whether its process runs."""
        return self.process.is_alive()


@dataclass(frozen=True, slots=True)
class Stack:
    """The servers of a project.

    Attributes:
        id: What their processes are marked with.
        prefect: The Prefect server.
        mlflow: The MLflow server.
        database: The database that MLflow shows, and that flows of this machine write to.
        artifacts: The folder or bucket of its artifacts.
        host: The address that both listen on.
        ready: Whether both have answered.
    """

    id: str
    prefect: Server
    mlflow: Server
    database: str
    artifacts: str
    host: str
    ready: bool = False

    @property
    def servers(self) -> tuple[Server, Server]:
        """Both servers."""
        return self.prefect, self.mlflow

    def dead(self) -> list[Server]:
        """Return the servers that do not run."""
        return [server for server in self.servers if not server.is_alive()]


def path() -> Path:
    """Return the file's place in this project."""
    return settings.home_folder() / FILE


def read() -> Stack | None:
    """Return what the file says, be its servers alive or not; None if there is none that can be read."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        fields = json.loads(path().read_text(encoding="utf-8"))
        return Stack(**{**fields, "prefect": _server(fields["prefect"]), "mlflow": _server(fields["mlflow"])})
    return None


def up() -> Stack | None:
    """Return the project's servers if they have started, and at least one still runs."""
    stack = read()
    return stack if stack and stack.ready and len(stack.dead()) < len(stack.servers) else None


def prefect_api() -> str | None:
    """Return the address of the local Prefect server's API, if it runs."""
    stack = up()
    return f"{stack.prefect.url}/api" if stack and stack.prefect.is_alive() else None


def write(stack: Stack) -> None:
    """Write the file, at once as a whole, for this user alone: a database's address may hold a password."""
    file = path()
    draft = file.with_suffix(".draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as text:
        json.dump(asdict(stack), text, indent=2)
    draft.replace(file)


def remove(stack: Stack) -> None:
    """Remove the file, if it is still about these servers."""
    stored = read()
    if stored is None or stored.id == stack.id:
        path().unlink(missing_ok=True)


def _server(fields: dict[str, str | dict[str, object]]) -> Server:
    return Server(**{**fields, "process": Process(**fields["process"])})  # type: ignore[arg-type]
