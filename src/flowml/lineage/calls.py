"""One call, as its session tells of it: what it was given, what it made, how it ended.

All of this happens in the task's thread, so it only notes: events are made and sent by another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from flowml import options, records, settings
from flowml.describe.hints import marker_in
from flowml.lineage import known, sending
from flowml.lineage.told import Data, EventType, Kind, Told

_TYPES: Mapping[records.Status, EventType] = {"FINISHED": "COMPLETE", "FAILED": "FAIL", "KILLED": "ABORT"}
_PREFECTS = {"prefect.flow_run_id", "prefect.task_run_id"}
"""The tags of runs that Prefect has: a rank of a training has none, and is its task's."""
_MOST = 200  # data sets of one call, and files among what it was given


class CallLineage:
    """What is told of one call.

    Args:
        identity: Which call it is; None for one that nothing is told of.
        ids: Its run, and the outermost one, as the catalogue knows them.
        above: The run that it was called in.
    """

    __slots__ = ("_above", "_ended", "_identity", "_inputs", "_outputs", "_started", "ids")

    def __init__(
        self,
        identity: records.Identity | None = None,
        ids: records.LineageIds | None = None,
        above: records.LineageIds | None = None,
    ) -> None:
        self.ids = ids
        self._identity = identity
        self._above = above
        self._inputs: dict[tuple[str, str], Data] = {}
        self._outputs: dict[tuple[str, str], Data] = {}
        self._started = False
        self._ended: str | None = None

    def note(self, found: Iterable[records.Record]) -> None:
        """Note the data sets and models among what is logged of the call."""
        if self.ids is None:
            return
        for record in found:
            match record:
                case records.Dataset():
                    self._note_table(record, self.ids)
                case records.Model():
                    name = f"models/{record.register}" if record.register else f"{self.ids.job}/{record.name}"
                    known.models.note(record.value, name)
                    self._add(self._outputs, Data(name, "MODEL", version=self.ids.run, about=record.flavor))
                case records.ModelInput():
                    name = known.models.find(record.value) or f"{self.ids.job}/{record.name}"
                    self._add(self._inputs, Data(name, "MODEL"))
                case _:
                    pass

    def _note_table(self, record: records.Dataset, ids: records.LineageIds) -> None:
        if record.kind == "file":
            return  # it is noted as that
        of_task = ids.job.rpartition(".")[2]
        name = ids.job if record.name == of_task else f"{ids.job}/{record.name}"
        kind: Kind = "TABLE"
        if record.source:
            source = Data(record.source, "SOURCE", record.digest, record.revision or "", record.schema, record.kind)
            self._add(self._inputs, source)  # what a task returned of a source, it has read from there
            if record.role == "input":
                known.tables.note(record.digest, record.source, "SOURCE")
                return
        if record.role == "input" and (earlier := known.tables.find(record.digest)):
            name, kind = earlier
        else:
            known.tables.note(record.digest, name, kind)
        data = Data(name, kind, record.digest, "", record.schema, record.kind)
        self._add(self._inputs if record.role == "input" else self._outputs, data)

    def given(self, arguments: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
        """Note the files that the call was given, and tell that it began."""
        if self.ids is not None:
            shown = [value for name, value in arguments.items() if not _is_skipped(hints.get(name))]
            self._note_files(self._inputs, shown)
            self.start()

    def gave(self, value: Any, hint: Any) -> None:
        """Note the files that it returned."""
        if self.ids is not None and not _is_skipped(hint):
            members = value.values() if isinstance(value, dict) else value
            self._note_files(self._outputs, list(members) if isinstance(members, list | tuple) else [members])

    def _note_files(self, there: dict[tuple[str, str], Data], values: list[Any]) -> None:
        for value in values[:_MOST]:
            if isinstance(value, Path):
                self._add(there, Data(str(value.absolute()), "FILE"))

    @staticmethod
    def _add(there: dict[tuple[str, str], Data], data: Data) -> None:
        if len(there) < _MOST:
            there[data.name, data.version or data.digest] = data

    def start(self) -> None:
        """Tell that the call began, once."""
        if self._identity and self.ids and not self._started:
            self._started = True
            kind: EventType = "RUNNING" if self._identity.since is not None else "START"
            self._tell(kind, self._identity.started)

    def end(self, status: records.Status | None, ended: int, about: Iterable[records.Record]) -> None:
        """Tell how it ended; a later verdict corrects an earlier one. Without a status it goes on, as the same run."""
        if self._identity is None or self.ids is None or status is None or self._ended == status:
            return
        self.start()
        self._ended = status
        self._tell(_TYPES[status], ended, about if status != "FINISHED" else ())

    def _tell(self, kind: EventType, when: int, about: Iterable[records.Record] = ()) -> None:
        if self._identity is None or self.ids is None:
            return
        tags = {record.key: record.value for record in about if isinstance(record, records.Tag)}
        trace = next((one.text for one in about if isinstance(one, records.Text) and "traceback" in one.path), "")
        error = next((f"{tags[f'{key}_type']}: {text}" for key, text in tags.items() if f"{key}_type" in tags), "")
        inputs, outputs = tuple(self._inputs.values()), () if kind == "START" else tuple(self._outputs.values())
        sending.add(Told(kind, when, self._identity, self.ids, self._above, inputs, outputs, error, trace))

    def handed_on(self, caller: records.Caller) -> records.Caller:
        """Complete what other processes are told of the call's run."""
        return replace(caller, lineage=self.ids) if self.ids else caller


NO_LINEAGE = CallLineage()


def _is_skipped(hint: Any) -> bool:
    return hint is not None and isinstance(marker_in(hint), options.Skip)


def begin(identity: records.Identity, above: records.LineageIds | None) -> CallLineage:
    """Begin to tell of a call, if there is a catalogue.

    Args:
        identity: The call's.
        above: The run that it was called in, in this process or another.
    """
    if not sending.is_on() or identity.tag[0] not in _PREFECTS:
        return NO_LINEAGE
    above = above or _from_outside()
    run = _run_id(identity.tag[1], identity.attempt if identity.kind == "task" else 1)
    job, place = _job(identity.kind, identity.owner, identity.tags), sending.namespace()
    root = (above.root, above.root_job, above.root_namespace) if above else (run, job, place)
    return CallLineage(identity, records.LineageIds(run, job, place, *root), above)


def _run_id(its_id: str, attempt: int) -> str:
    """Return the standard's id of an attempt: the first has Prefect's; a run that failed cannot begin again."""
    return its_id if attempt <= 1 else str(uuid5(UUID(its_id), f"attempt {attempt}"))


def _job(kind: str, owner: str, tags: Mapping[str, str]) -> str:
    flow = tags.get("prefect.flow_name") if kind == "task" else None
    return f"{flow}.{owner}" if flow else owner


def _from_outside() -> records.LineageIds | None:
    """Return the run that started this program, by the standard's variable: ``namespace/job/run id``."""
    found = settings.from_environment("OPENLINEAGE_PARENT_ID").strip()
    parts = found.rsplit("/", 2)
    if len(parts) != 3:  # noqa: PLR2004
        return None
    try:
        run = str(UUID(parts[2]))
    except ValueError:
        return None
    namespace, job = parts[:2]
    root = settings.from_environment("OPENLINEAGE_ROOT_PARENT_ID").strip().rsplit("/", 2)
    if len(root) == 3:  # noqa: PLR2004
        return records.LineageIds(run, job, namespace, root[2], root[1], root[0])
    return records.LineageIds(run, job, namespace, run, job, namespace)


def ended_elsewhere(ids: records.LineageIds, flow: str, status: records.Status, ended: int, why: str) -> None:
    """Tell of the end of a flow run whose process was ended, or died, and can tell nothing itself."""
    sending.load()
    if sending.is_on():
        tag = ("prefect.flow_run_id", ids.run)
        identity = records.Identity(flow, "flow", flow, 1, ended, None, {}, tag)
        sending.add(Told(_TYPES[status], ended, identity, ids, None, (), (), why))
        sending.settle()
