"""What one run has to send: taken from the user's threads at once, sent by the writer's in order."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakSet

from flowml import records
from flowml.errors import TrackingError
from flowml.locks import RLock
from flowml.process import unique_id
from flowml.storable import numbered
from flowml.store.backend.notifications import Subscriber
from flowml.store.flow_end.figures import Figures
from flowml.store.flow_end.losses import Losses
from flowml.store.journal.journal import Journal
from flowml.store.journal.scratch import Scratch
from flowml.store.models.identity import Serialized
from flowml.store.models.log_model import SavedModel
from flowml.store.waiting.delay import Delay

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

    from flowml.store.flow_end.summary import CallSummary

Sendable: TypeAlias = (
    records.Param
    | records.Tag
    | records.Dataset
    | records.Reused
    | records.LinkedPrompt
    | records.ByHand
    | records.Hidden
    | records.Span
    | records.Trace
    | tuple[records.Metric, int]
    | SavedModel
    | Serialized
    | Scratch
)  # a metric with the time it was taken, a model that was made, one that was given, files


@dataclass(frozen=True, slots=True)
class Taken:
    """What one call handed over.

    Attributes:
        number: Its entry in the journal, which goes when it is sent; 0 if there is none, or it goes with the run.
        items: What is to be sent.
    """

    number: int
    items: Sequence[Sendable]


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment: by its id, or by a name, under which it is made if there is none."""

    id: str | None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that is to be created.

    Attributes:
        name: What it is called.
        tags: Its tags, but for those that lead to the runs above it.
        started: When its call began, in milliseconds since 1970.
        experiment: Asked for its experiment, when it is created; None for that of the run above.
        is_root: Whether it is the outermost flow's; it may still hang under a run of the user's.
        above: What the run it hangs under has to send, its creation too; None for a root.
        reopens: The Prefect flow run whose run is gone on with, if there is one already.
        follows: What the attempt before this one has to send.
        is_shared: Whether other processes make the same run, of which one is to be: that of a DAG run.
    """

    name: str
    tags: Mapping[str, str]
    started: int
    experiment: Callable[[], Experiment] | None
    is_root: bool
    above: Outgoing | None = None
    reopens: str | None = None
    follows: Outgoing | None = None
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class Created:
    """A run as MLflow knows it; the entity is left out where another process created it."""

    entity: MlflowRun | None
    info: records.CurrentRun


@dataclass(frozen=True, slots=True)
class Closing:
    """How and when a run ended.

    Attributes:
        status: Its status.
        ended: When, in milliseconds since 1970.
        rolls_up: Whether it carries its children's metrics.
        call_summary: The children that have no runs, until their summary is among what is to be sent.
    """

    status: records.Status
    ended: int
    rolls_up: bool
    call_summary: CallSummary | None = None


@dataclass(eq=False)
class Evaluated:
    """What a run's metrics are about: the model that it was given, if it was one, and the dataset.

    Attributes:
        models: The models that it was given.
        datasets: Names and digests of the datasets that it was given.
        makes_models: Whether it made models: its metrics may be about these then.
        metrics: The last one of each name, with the time it was taken.
    """

    models: list[Serialized] = field(default_factory=list)
    datasets: dict[str, str] = field(default_factory=dict)
    makes_models: bool = False
    metrics: dict[str, tuple[records.Metric, int]] = field(default_factory=dict)

    def add(self, given: records.Dataset | Serialized) -> None:
        """Note what the run was given, or made."""
        if isinstance(given, Serialized):
            self.models.append(given)
        elif given.role == "input":
            self.datasets[given.name] = given.digest

    def model_id(self, uri: str) -> str | None:
        """Return the id of the one model that it was given, in a store; None if it is not about one."""
        ids = {model.ids.get(uri) for model in self.models}
        return ids.pop() if len(ids) == 1 and not self.makes_models else None

    @property
    def dataset(self) -> tuple[str | None, str | None]:
        """Name and digest of the one dataset that it was given; nothing if there are several."""
        return next(iter(self.datasets.items())) if len(self.datasets) == 1 else (None, None)


@dataclass(eq=False)
class Outgoing:
    """What one run has to send.

    Its key is a tag of the run: whoever sends it again, in this process or after it, finds it by that.

    User threads only append to ``incoming`` and ``subscribers``, and set ``is_ending``; the rest, ``closing`` too, is
    the writer's, in one thread at a time.
    """

    new: NewRun | None
    root: Outgoing | None
    created: Future[Created] = field(default_factory=Future)
    creating: threading.RLock = field(default_factory=RLock)  # held by whichever thread creates it
    incoming: deque[Taken] = field(default_factory=deque)
    closing: Closing | None = None
    since: float = field(default_factory=time.monotonic)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[records.Metric, int]] = field(default_factory=list)  # with the time it was taken
    inputs: list[records.Dataset | Serialized] = field(default_factory=list)
    files: list[Scratch] = field(default_factory=list)
    models: list[SavedModel] = field(default_factory=list)
    reused: list[records.Reused] = field(default_factory=list)
    prompts: list[records.LinkedPrompt] = field(default_factory=list)  # those to be linked to the run
    given_prompts: list[records.LinkedPrompt] = field(default_factory=list)  # all, which its models are linked to
    spans: list[records.Span] = field(default_factory=list)  # of an outermost run, and of all below it
    traces: list[records.Trace] = field(default_factory=list)
    traced: dict[str, Outgoing] = field(default_factory=dict)  # the runs of calls whose spans are not sent, by key
    own_metrics: set[str] = field(default_factory=set)  # their names
    evaluated: Evaluated = field(default_factory=Evaluated)
    secrets: dict[str, int] = field(default_factory=dict)  # how many were masked or left out, by call
    failures: int = 0  # in a row
    next_try: float = 0.0  # when it is tried again
    sent_last: float = 0.0  # when something of an outermost run, or below it, was sent
    tried_in: int = -1  # the pass over all runs in which a step failed last
    late: TrackingError | None = None  # why a part of it could not be sent in this pass
    closed: bool = False
    problems: list[TrackingError] = field(default_factory=list)  # what could not be sent
    runs_around_tasks: set[str] = field(default_factory=set)  # the user's, which tasks of this flow hang under
    subscribers: list[Subscriber] = field(default_factory=list)  # notified of this run alone
    figures: Figures = field(default_factory=Figures)  # of the tasks of an outermost run
    is_ended: bool = False  # whether subscribers were told that a flow's run has ended
    is_ending: bool = False  # whether it was said that it has ended, and is not closed yet
    key: str = field(default_factory=unique_id)
    found_by: str | None = None  # the key of the run, where another process opens it
    opened: Outgoing | None = None  # what that process left to be sent of the run, where it is sent here too
    store: Callable[[], Mapping[str, Any]] | None = None  # tells which store it goes to, for the journal
    journal: Journal | None = None  # the one that tells of it
    has_gaps: bool = False  # whether the journal could not take a part of it
    unsent: list[int] = field(default_factory=list)  # the journal's entries of what was sorted and not sent
    is_restored: bool = False  # whether it was read from a journal, so that MLflow may have it, or a part of it
    was_tried: bool = False  # whether its creation was tried, and nobody knows whether it came to be
    has_given_way: bool = False  # whether it is of an attempt at a flow run that another has followed
    is_said_to_wait: bool = False  # whether the user was told that something of an outermost run waits
    children: CallSummary | None = None  # those without runs, of one that was read from a journal, until summed up
    summed_up: CallSummary | None = None  # those without runs, whose summary is sent
    own_delay: Delay = field(default_factory=Delay)  # of an outermost run
    _losses: Losses = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._losses = Losses(is_elsewhere=self.new is None)
        if self.root is None and not self.own_delay.is_elsewhere:
            self.own_delay.key = self.own_delay.key or self.key
        _all.add(self)

    @property
    def public_key(self) -> str:
        """The run's tag in MLflow, by which any process finds it."""
        return self.found_by or self.key

    @property
    def is_late(self) -> bool:
        """Whether others may have gone on without it: its process, or its flow, did not wait until it was sent."""
        return self.is_restored or (self.root or self).is_said_to_wait

    @property
    def losses(self) -> Losses:
        """What is lost of the outermost run and all below it."""
        return (self.root or self)._losses  # noqa: SLF001 - its own class

    @property
    def delay(self) -> Delay:
        """How long MLflow may still delay the outermost run."""
        return (self.root or self).own_delay

    def note_created(self, made: Created) -> None:
        """Note as what it was created, and which tags are still to tell of it; also where a journal says so."""
        run_id = made.info.run_id
        if self.new and self.new.follows:
            self.new.follows.tags["flowml.next_run_id"] = run_id
        if self.new and not self.new.is_shared and made.info.root_run_id == run_id:
            self.tags["flowml.root_run_id"] = run_id
        self.created.set_result(made)

    def sort(self) -> None:
        """Sort what came in by what it is sent with; of one param or tag the last counts."""
        while self.incoming:
            taken = self.incoming.popleft()
            if taken.number:
                self.unsent.append(taken.number)
            for item in taken.items:
                self._sort(item)

    def _sort(self, item: Sendable) -> None:
        match item:
            case records.Param(key, value):
                self.params[key] = value
            case records.Tag(key, value):
                self.tags[key] = value
            case (records.Metric(key), _) as taken:
                self.own_metrics.add(key)
                self.metrics.append(taken)
                self.evaluated.metrics[key] = taken
            case records.Dataset() | Serialized() as model_or_dataset:
                self.inputs.append(model_or_dataset)
                self.evaluated.add(model_or_dataset)
            case records.ByHand() | records.Hidden() as by_hand_or_hidden:
                self._regard(by_hand_or_hidden)
            case records.Reused() | records.LinkedPrompt() | records.Span() | records.Trace() as linked:
                self._sort_linked(linked)
            case SavedModel() as model:
                self.models.append(model)
                self.evaluated.makes_models = True
            case Scratch() as files:
                self.files.append(files)

    def _sort_linked(self, linked: records.Reused | records.LinkedPrompt | records.Span | records.Trace) -> None:
        match linked:
            case records.Reused():
                self.reused.append(linked)
            case records.Span():
                self.spans.append(linked)
            case records.Trace():
                self.traces.append(linked)
            case _ if linked not in self.given_prompts:
                self.prompts.append(linked)
                self.given_prompts.append(linked)

    def _regard(self, by_hand_or_hidden: records.ByHand | records.Hidden) -> None:
        if isinstance(by_hand_or_hidden, records.ByHand):
            self._leave_out(by_hand_or_hidden)
        else:
            self.secrets[by_hand_or_hidden.call] = by_hand_or_hidden.count
            self.tags["flowml.masked_secrets"] = str(sum(self.secrets.values()))

    def _leave_out(self, by_hand: records.ByHand) -> None:
        """Leave out the parameters that were logged by hand; rename those whose name has another value by hand."""
        kept: dict[str, str] = {}
        for key, value in self.params.items():
            name, number = key, 2
            while name in by_hand.here or (name in self.params and name != key):
                if by_hand.here.get(name) == value:
                    break
                name, number = numbered(key, number), number + 1
            else:
                if by_hand.elsewhere.get(key) != value:
                    kept[name] = value
        self.params = kept

    def for_a_fork(self) -> Outgoing:
        """Return the same run with nothing to send, for a forked process that has something of its own to say."""
        out = Outgoing(None, None, store=self.store, own_delay=self.delay)
        if self.created.done() and not self.created.exception(0):
            out.created.set_result(self.created.result(0))
        else:
            out.found_by = self.public_key
        return out

    def kept_files(self) -> list[Path]:
        """Return the folders with the files and models that it has to send."""
        models = [model.serialized.scratch for model in self.models]
        return [scratch.path for scratch in (*self.files, *models) if scratch]

    def discard(self) -> None:
        """Let go of the files of what will not be sent."""
        for files in self.files:
            files.remove()
        for model in self.models:
            model.discard()
        self.files, self.models = [], []
        self.figures.remove()

    def let_go(self) -> None:
        """Leave what is to be sent to the journal: it is read again from there."""
        self.sort()
        for files in self.files:
            files.let_go()
        for model in self.models:
            model.serialized.let_go()
        for held in (self.params, self.tags, self.metrics, self.inputs, self.files, self.models):
            held.clear()
        for more in (self.reused, self.prompts, self.given_prompts, self.spans, self.traces, self.traced):
            more.clear()
        self.evaluated, self.unsent = Evaluated(), []

    def note(self, problem: TrackingError) -> None:
        """Note what could not be sent, where the outermost flow will tell it."""
        (self.root or self).problems.append(problem)
        self.losses.add(str(problem))

    def put_off(self, pause: float) -> None:
        """Note that it failed in a way that may pass, and try again after a pause."""
        self.failures += 1
        self.next_try = time.monotonic() + pause


_all: WeakSet[Outgoing] = WeakSet()


def alive_here() -> dict[str, Outgoing]:
    """Return the runs of this process that somebody holds, by key."""
    return {out.key: out for out in list(_all)}


def open_here() -> set[str]:
    """Return the ids of the runs that this process opened and has not ended."""
    return {
        out.created.result(0).info.run_id
        for out in list(_all)
        if out.new and not out.closed and not out.closing and out.created.done() and not out.created.exception(0)
    }
