"""What a call hands over, in a form that waits: models serialized, files copied, metrics with their time."""

from __future__ import annotations

from collections.abc import Iterable

from flowml import formats, records
from flowml.errors import TrackingError, pass_on
from flowml.secrets import mask
from flowml.storable import legal_key
from flowml.store.journal.staging import FileRecord, stage
from flowml.store.models import log_model
from flowml.store.models.identity import serialized_of
from flowml.store.waiting.queue import Sendable


def enqueue(
    new_records: Iterable[records.Record], uri: str, at: int | None = None
) -> tuple[list[Sendable], list[TrackingError]]:
    """Take records in, in the user's thread: what changes later is not logged.

    Args:
        new_records: What a call logged.
        uri: The tracking URI of the store it is for.
        at: The time of metrics, in milliseconds since 1970. Default: now.

    Returns:
        What is to be sent, and an error for each model that could not be serialized and each file not copied.
    """
    now = formats.now() if at is None else at
    taken: list[Sendable] = []
    files: list[FileRecord] = []
    problems: list[TrackingError] = []
    for record in new_records:
        match record:
            case records.Text() | records.Blob() | records.File():
                files.append(record)
            case records.Metric():
                taken.append((record, now))
            case records.ModelInput():
                known = serialized_of(record.value)  # asked now: the object may be fitted anew before it is sent
                taken += [known] if known else []
            case records.PromptInput(name, version):
                taken.append(records.LinkedPrompt(name, version))
            case records.Model():
                try:
                    taken += _saved(record, uri)
                except BaseException as error:  # noqa: BLE001 - of whatever library the model comes from
                    pass_on(error)
                    problems.append(_problem(f"the model {record.name!r} could not be serialized", error, uri))
            case records.Lost() | records.Remark() | records.Digest():
                pass  # the session says the first two, the last is sent when it is known
            case _:
                taken.append(record)
    return [*taken, *_staged(files, problems, uri)], problems


def _staged(files: list[FileRecord], problems: list[TrackingError], uri: str) -> list[Sendable]:
    """Copy files aside, and note what could not be copied."""
    if not files:
        return []
    try:
        staged, missing = stage(files)
    except OSError as error:
        problems.append(_problem(f"{len(files)} files could not be copied", error, uri))
        return []
    problems += [_problem(f"the file {name!r} could not be copied", error, uri) for name, error in missing.items()]
    return [staged]


def _saved(model: records.Model, uri: str) -> list[Sendable]:
    """Serialize a model, and say on the run where its signature had to leave something open."""
    saved = log_model.save(model, uri=uri)
    notes = "; ".join(saved.notes)
    return [saved, records.Tag(legal_key(f"flowml.signature.{saved.name}"), notes)] if notes else [saved]


def _problem(what: str, error: BaseException, uri: str) -> TrackingError:
    return TrackingError(f"{what}: {type(error).__name__}: {error}.", uri=mask(uri))
