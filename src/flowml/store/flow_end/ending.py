"""What a flow's run gets when it ends: its children's metrics, a note, the graph; and what can be told of it then."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowml import mlflow_limits, records
from flowml.storable import clean
from flowml.store.backend import urls
from flowml.store.backend.mlflow_state import ELSEWHERE
from flowml.store.backend.notifications import Notification, Subscriber, notify
from flowml.store.backend.urls import NOTE
from flowml.store.flow_end import child_runs, graph, losses, note, rollup
from flowml.store.flow_end.losses import Losses
from flowml.store.flow_end.summary import CallSummary
from flowml.store.models import registry
from flowml.store.usage import sums as usage
from flowml.store.usage.sums import Usage

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

_SEAL = re.compile(r"\n\n<!-- flowml ([0-9a-f]{16}) -->\Z")  # tells a note of flowml's from one that was changed
_OWN = "flowml.own_metrics"  # the names of the run's metrics before it told of its tasks': those stay
_ELSEWHERE = "flowml.note"  # the note, where somebody's own stands in its place
_FOLDER = "flow"
_MOST_NAMES = 50  # runs that get another name at a flow's end: each is a request
_MOST_LINKS = 50  # datasets, and models


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that has ended, and is to be closed.

    Attributes:
        info: Its ids.
        name: Its name.
        tags: The tags that it was created with.
        status: How it ended.
        ended: When, in milliseconds since 1970.
        losses: What was lost of it and below it.
        own_metrics: The names of the metrics that it logged itself.
        runs_around_tasks: The user's runs that tasks of the flow hang under; None if nobody knows by now.
        summarized: The calls below it that have no run.
        subscribers: Who is notified of its end, beside those who want to know of all.
        awaited: The names of tasks and flows below it of which runs are to come: their metrics wait for all of them.
        summary_again: The summary of its calls without runs, where it is another than the run has.
    """

    info: records.CurrentRun
    name: str
    tags: Mapping[str, str]
    status: records.Status
    ended: int
    losses: Losses
    own_metrics: Collection[str]
    runs_around_tasks: Collection[str] | None
    summarized: CallSummary | None
    subscribers: Sequence[Subscriber]
    awaited: frozenset[str] = frozenset()
    summary_again: Sequence[records.Record] = ()


class Ending:
    """A flow's run at its end: what is read of it, what it gets, and what is told of it.

    Args:
        client: The client to read with.
        ended: The run.
    """

    def __init__(self, client: MlflowClient, ended: EndedRun) -> None:
        self._client = client
        self._ended = ended
        self.awaited = ended.awaited
        self._info = ended.info
        self._run: Run | None = None
        self._all: list[child_runs.ChildRun] = []
        self._children: list[child_runs.ChildRun] = []
        self._labels: Mapping[str, str] = {}
        self._metrics: list[records.Metric] = []
        self._used = Usage()

    def read(self) -> None:
        """Read what is there already: the run, and what is right below it."""
        run_id, experiment_id = self._info.run_id, self._info.experiment_id
        self._all = child_runs.read(self._client, run_id, experiment_id)
        known = self._ended.runs_around_tasks
        others = _by_hand(self._all) if known is None else list(known)
        while others:
            below = child_runs.read(self._client, others.pop(), experiment_id)
            self._all += [child for child in below if not child.by_hand]
            others += _by_hand(below) if known is None else []
        self._run = self._client.get_run(run_id)
        apart = child_runs.read_apart(self._client, self._run.data.tags)
        for text in losses.in_tags(self._run.data.tags, of_others=True):
            self._ended.losses.add(text)
        for child in self._all:
            for text in child.losses:
                self._ended.losses.add(f"{child.name}: {text}")
        has_run = {(child.id, child.attempt) for child in (*self._all, *apart)}
        summed_up = child_runs.summed_up(self._ended.summarized)
        summed_up = [child for child in summed_up if (child.id, child.attempt) not in has_run]
        children = child_runs.last_attempts([*self._all, *apart, *summed_up])
        self._labels = rollup.labels([*self._all, *apart])
        used = [child.used for child in (*self._all, *apart)]  # of each attempt: it was paid for
        self._used = sum(used, usage.parts_in(self._run.data.tags))
        self._children = [replace(each, name=rollup.renamed(each, self._labels.get(each.id))) for each in children]

    def rename(self) -> None:
        """Name the runs of tasks by what tells them apart; the name that they had stays in a tag.

        Raises:
            Exception: What MLflow raises.
        """
        from mlflow.entities import RunTag

        found = [
            (child, name)
            for child in self._all
            if child.run_id and (name := rollup.renamed(child, self._labels.get(child.id))) != child.name
        ]
        for child, name in found[:_MOST_NAMES]:
            tags = {"mlflow.runName": name, "prefect.task_run_name": child.name}
            self._client.log_batch(str(child.run_id), tags=[RunTag(key, clean(value)) for key, value in tags.items()])

    def link(self) -> None:
        """Link to the run the datasets that came in from outside, and the models that came out.

        Raises:
            Exception: What MLflow raises.
        """
        from mlflow.entities import LoggedModelOutput

        inputs, made_by = (self._run.inputs, self._run.outputs) if self._run else (None, None)
        known = {given.dataset.digest for given in inputs.dataset_inputs} if inputs else set()
        logged = {made.model_id for made in made_by.model_outputs} if made_by else set()
        came_in: dict[str, DatasetInput] = {}
        made_here: set[str] = set()
        for child in sorted(self._all, key=lambda child: child.started):
            by_role = [(each, "output" in {tag.value for tag in each.tags}) for each in child.datasets]
            for each, is_output in by_role:
                if not is_output and each.dataset.digest not in made_here:
                    came_in.setdefault(each.dataset.digest, each)
            made_here |= {each.dataset.digest for each, is_output in by_role if is_output}
        # What was made last first: pages show the first ones.
        made = dict.fromkeys(model for child in reversed(self._all) for model in child.logged_models)
        datasets = [each for digest, each in came_in.items() if digest not in known]
        models = [model for model in made if model not in logged]  # MLflow would link one twice
        if datasets:
            self._client.log_inputs(self._info.run_id, datasets=datasets[:_MOST_LINKS])
        if models:
            outputs = [LoggedModelOutput(model_id, step=0) for model_id in models[:_MOST_LINKS]]
            self._client.log_outputs(self._info.run_id, models=outputs)

    def graph(self) -> list[records.Record]:
        """Return the graph as a picture, and as text that other tools draw; nothing if there is nothing to draw."""
        if not self._children:
            return []
        drawn = graph.of(self._children)
        return [
            records.Text(f"{_FOLDER}/graph.svg", graph.svg(drawn)),
            records.Text(f"{_FOLDER}/graph.md", graph.mermaid(drawn)),
        ]

    def results(self) -> list[records.Record]:
        """Return the children's metrics, which models were registered, and the note."""
        if self._run is None:
            return []
        told = [child for child in self._all if child.owner not in self.awaited]
        everything, own = rollup.rolled_up(told, self._labels), self._own(self._run)
        self._metrics = [metric for metric in everything if metric.key not in own]
        tags = self._note(self._run.data.tags)
        if self._children or self._used:
            tags[_OWN] = _as_tag(own, first=[metric.key for metric in everything if metric.key in own])
        if models := self._models():
            tags[registry.TAG] = registry.as_tag(models)
        found: list[records.Record] = [
            records.Metric(metric.key[: mlflow_limits.KEY], metric.value) for metric in self._metrics
        ]
        if self._used and not self.awaited:
            found += self._used.records(without=own)
        return [*found, *(records.Tag(key, value) for key, value in tags.items()), *self._ended.summary_again]

    def _own(self, run: Run) -> Collection[str]:
        """Return the names of those metrics that are the flow's own, which stay; of a run that tells again the tag."""
        told: Collection[str] = run.data.metrics  # all, where it has not told, or somebody changed the tag
        with suppress(KeyError, TypeError, ValueError):
            told = set(json.loads(run.data.tags[_OWN]))
        return {*self._ended.own_metrics, *told}

    def changed(self) -> tuple[list[records.Record], list[records.Record]]:
        """Return of the results what the run has not got yet, and what it has otherwise: it told of them before."""
        results, had = self.results(), self._run.data.metrics if self._run else {}
        metrics = [each for each in results if isinstance(each, records.Metric)]
        changed = [each for each in metrics if each.key in had and not _same(had[each.key], each.value)]
        rest = [each for each in results if not isinstance(each, records.Metric) or each.key not in had]
        return rest, list(changed)

    def summary(self) -> records.Summary:
        """Tell what the run holds now."""
        run = self._run
        data = run.data if run else None
        own = {key: data.metrics[key] for key in sorted(data.metrics)} if data else {}
        below = sorted(self._metrics, key=lambda metric: metric.key)
        return records.Summary(
            run=self._info,
            name=(run.info.run_name if run else None) or self._info.run_id,
            state=self._state(),
            seconds=self._seconds(),
            params=dict(data.params) if data else {},
            metrics=own | {each.key: each.value for each in below},
            models=self._models(),
            problems=tuple(self._ended.losses.texts()),
        )

    def notify(self, *, is_closed: bool, is_first: bool) -> None:
        """Notify of the end of a flow's run.

        Args:
            is_closed: Whether MLflow has closed it.
            is_first: Whether this was told to nobody yet; when it is told again, because more has arrived, only those
                hear of it who subscribed to this run.
        """
        ended, info = self._ended, self._info
        notification = Notification(
            "run finished" if is_closed else "run left open",
            self._client,
            info.experiment_id,
            info.run_id,
            tags={**ended.tags, "flowml.root_run_id": info.root_run_id},
            facts={"status": ended.status, "name": ended.name},
            summary=self.summary(),
        )
        notify(notification, *ended.subscribers, to_all=is_first)

    def _models(self) -> tuple[records.RegisteredModel, ...]:
        own = registry.versions_in(self._run.data.tags) if self._run else ()
        return tuple(dict.fromkeys([*own, *(model for child in self._children for model in child.models)]))

    def _note(self, tags: dict[str, str]) -> dict[str, str]:
        """Return the tags of the note: as the run's description, unless somebody wrote one."""
        experiment_id, run_id = self._info.experiment_id, self._info.run_id
        page = urls.of_run(experiment_id, run_id, f"{_FOLDER}/graph.svg") if self._children else None
        head = note.Head(experiment_id, self._state(), self._seconds(), tags, page, self._page_above(tags), self._used)
        text = note.write(head, self._children)
        before = tags.get(NOTE, "").strip()
        if before and not _is_ours(before):
            return {_ELSEWHERE: text}
        return {NOTE: f"{text}\n\n<!-- flowml {_digest(text)} -->"}

    def _page_above(self, tags: dict[str, str]) -> str | None:
        """Return the page of the run that this one was called in, if that is in another experiment."""
        above = tags.get(ELSEWHERE)
        return urls.of_run(self._client.get_run(above).info.experiment_id, above) if above else None

    def _state(self) -> str:
        return child_runs.state_of(self._run.data.tags if self._run else {}, self._ended.status)

    def _seconds(self) -> float:
        began = self._run.info.start_time if self._run else self._ended.ended
        return max(0.0, (self._ended.ended - began) / 1000)


def _as_tag(names: Collection[str], first: Iterable[str]) -> str:
    """Return names as a tag holds them; of very many those that matter first."""
    kept, room = list[str](), mlflow_limits.TAG - len("[]")
    for name in dict.fromkeys([*sorted(first), *sorted(names)]):
        room -= len(json.dumps(name)) + len(", ")
        if room < 0:
            break
        kept.append(name)
    return json.dumps(kept)


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _by_hand(children: Iterable[child_runs.ChildRun]) -> list[str]:
    return [child.run_id for child in children if child.by_hand and child.run_id]


def _is_ours(text: str) -> bool:
    """Tell whether flowml wrote a note, and nobody changed it since."""
    seal = _SEAL.search(text)
    return seal is not None and seal[1] == _digest(text[: seal.start()])


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:16]
