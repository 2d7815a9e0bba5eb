"""One scenario, as a user of Prefect sees it and as one of flowml does, with tracking on and off."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import prefect
import prefect.assets
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.settings import (
    PREFECT_LOCAL_STORAGE_PATH,
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW,
    temporary_settings,
)

import flowml

ID = r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"
SEEN_OF_A_RUN = (
    "name",
    "tags",
    "parameters",
    "run_count",
    "flow_version",
    "empirical_policy",
    "state_type",
    "state_name",
    "labels",
)


@dataclass(frozen=True)
class Side:
    """The decorators of one library, and a folder for what their flows persist."""

    name: str
    flow: Any
    task: Any
    materialize: Any
    folder: Path
    around: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext

    @property
    def storage(self) -> Path:
        """Where results are persisted."""
        return self.folder / "storage"


@dataclass
class Seen:
    """What a user can observe of a scenario: what it gave, the flow runs, the log and what was printed."""

    result: Any
    runs: list[Any] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    printed: str = ""


def sides(folder: Path, turned_off: Callable[[], contextlib.AbstractContextManager[Any]]) -> dict[str, Side]:
    """Return Prefect's side, and flowml's: tracked, and untracked in each way.

    Args:
        folder: Where each gets a folder.
        turned_off: Makes flowml's setting ``enabled`` false for a while.
    """
    theirs = (prefect.flow, prefect.task, prefect.assets.materialize)
    ours = (flowml.flow, flowml.task, flowml.materialize)
    untracked = tuple(partial(decorate, track=False) for decorate in ours)
    made = [
        Side("prefect", *theirs, folder / "prefect"),
        Side("tracked", *ours, folder / "tracked"),
        Side("disabled", *ours, folder / "disabled", flowml.disabled),
        Side("setting", *ours, folder / "setting", turned_off),
        Side("untracked", *untracked, folder / "untracked"),
    ]
    for side in made:
        side.storage.mkdir(parents=True)
    return {side.name: side for side in made}


def observe(scenario: Callable[[Side], Any], side: Side, *, ordered: bool = True) -> Seen:
    """Run a scenario on one side and return what can be seen of it, without what is random.

    Args:
        scenario: Is given the side and returns what its flows gave; may be async.
        side: Whose decorators it uses.
        ordered: Whether its log has one order only; false where tasks run at the same time.
    """
    printed = io.StringIO()
    with (
        temporary_settings(
            {PREFECT_LOCAL_STORAGE_PATH: side.storage, PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}
        ),
        side.around(),
        listening() as records,
        contextlib.redirect_stdout(printed),
    ):
        result = scenario(side)
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        result = plain(result)
    lines = [f"{record.levelname} {record.name}: {record.getMessage()}" for record in records]
    ids = dict.fromkeys(record.flow_run_id for record in records if getattr(record, "flow_run_id", None))
    names = {name for record in records if (name := getattr(record, "flow_run_name", None))}
    clean = partial(normal, side=side, names=names)
    lines = [clean(line) for line in lines]
    runs = [clean(run) for run in _runs_of(ids)]
    if not ordered:
        lines.sort()
        runs.sort(key=repr)
    return Seen(clean(result), runs, lines, clean(printed.getvalue()))


@contextlib.contextmanager
def listening(name: str = "prefect", level: int = logging.INFO) -> Iterator[list[logging.LogRecord]]:
    """Collect what a logger and those below it say meanwhile."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler(level)
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger(name)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def plain(value: Any) -> Any:
    """Return states and errors as what a user reads of them."""
    if isinstance(value, State):
        data = value.result(raise_on_failure=False, _sync=True) if value.is_final() else None
        return {"type": value.type.value, "name": value.name, "message": value.message, "result": plain(data)}
    if isinstance(value, BaseException):
        return f"{type(value).__module__}.{type(value).__qualname__}: {value}"
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value))
    return value


def error_of(call: Callable[[], Any]) -> BaseException:
    """Return the error that a call raises; fail if it raises none."""
    try:
        given = call()
    except Exception as error:  # noqa: BLE001 - which one it is, is what is compared
        return error
    msg = f"no error, but {given!r}"
    raise AssertionError(msg)


def normal(value: Any, *, side: Side, names: set[str]) -> Any:
    """Replace what differs from run to run: ids, random names, folders, flowml's own label."""
    clean = partial(normal, side=side, names=names)
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items() if key != "flowml.run"}
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, UUID):
        return "<id>"
    if not isinstance(value, str):
        return value
    for name in names:
        if re.fullmatch(r"[a-z]+-[a-z]+", name):
            value = value.replace(name, "<random name>")
    value = value.replace(str(side.folder), "<folder>")
    value = re.sub(ID, "<id>", value)
    value = re.sub(r"0x[0-9a-f]+", "<address>", value)
    return re.sub(r"\b(\w+)-[0-9a-f]{3}\b", r"\1-<key>", value)  # a task run's name


def _runs_of(ids: Iterable[str]) -> list[dict[str, Any]]:
    with get_client(sync_client=True) as client:
        runs = [client.read_flow_run(UUID(flow_run_id)).model_dump(mode="json") for flow_run_id in ids]
    return [{"message": run["state"]["message"]} | {name: run[name] for name in SEEN_OF_A_RUN} for run in runs]
