"""What a flow's run gets when it ends: its children's metrics, a note, the graph; and what can be told of it then."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from flowml import clock, records
from flowml.errors import TrackingError
from flowml.store import batches, child_runs, graph, losses, note, pages, registration, rollup
from flowml.store.intake import take_in
from flowml.store.mlflow_state import ELSEWHERE
from flowml.store.notifications import Notification, notify
from flowml.store.outgoing import Closing, Outgoing
from flowml.store.pages import NOTE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_DIGEST = "flowml.note_digest"  # of the note that flowml wrote, to tell it from one that somebody wrote or changed
_ELSEWHERE = "flowml.note"  # the note, where somebody's own stands in its place
_FOLDER = "flow"


class Ending:
    """One flow's run at its end; each step can be done again where it failed.

    Args:
        client: The client to read and send with.
        out: What the run has to send.
        closing: How it ended.

    Attributes:
        is_closed: Whether MLflow has closed it.
    """

    def __init__(self, client: MlflowClient, out: Outgoing, closing: Closing) -> None:
        self.is_closed = False
        self._client = client
        self._out = out
        self._closing = closing
        self._info = out.created.result(0).info
        self._run: Run | None = None
        self._all: list[child_runs.ChildRun] = []
        self._children: list[child_runs.ChildRun] = []
        self._metrics: list[records.Metric] = []

    def read(self) -> None:
        """Read what is there already: the run, and what is right below it."""
        run_id, experiment_id = self._info.run_id, self._info.experiment_id
        self._all = child_runs.read(self._client, run_id, experiment_id)
        for other in self._out.runs_around_tasks:
            below = child_runs.read(self._client, other, experiment_id)
            self._all += [child for child in below if not child.by_hand]
        self._run = self._client.get_run(run_id)
        apart = child_runs.read_apart(self._client, self._run.data.tags)
        for text in losses.in_tags(self._run.data.tags, of_others=True):
            self._out.losses.add(text)
        for child in self._all:
            for text in child.losses:
                self._out.losses.add(f"{child.name}: {text}")
        summed_up = child_runs.summed_up(self._closing.folded)
        self._children = child_runs.last_attempts([*self._all, *apart, *summed_up])

    def draw(self) -> None:
        """Log the graph as a picture, and as text that other tools draw; where there is something to draw."""
        if self._children:
            drawn = graph.of(self._children)
            files = [
                records.Text(f"{_FOLDER}/graph.svg", graph.svg(drawn)),
                records.Text(f"{_FOLDER}/graph.md", graph.mermaid(drawn)),
            ]
            out = Outgoing(None, None)  # of its own, for it to be made anew where this fails
            taken, problems = take_in(files, self._client.tracking_uri)
            out.incoming.extend(taken)
            out.sort()
            try:
                batches.send_files(self._client, self._out.created.result(0), out)
            finally:
                out.discard()
            if problems:
                raise TrackingError.of(problems)

    def sum_up(self) -> None:
        """Log the children's metrics, which models were registered, and the note."""
        if self._run is None:
            return
        now, out = clock.now(), Outgoing(None, None)
        self._metrics = rollup.rolled_up(self._all, self._out.own_metrics)
        out.metrics += [(records.Metric(metric.key[:250], metric.value), now) for metric in self._metrics]
        if models := self._models():
            out.tags[registration.TAG] = registration.as_tag(models)
        out.tags |= self._note(self._run.data.tags)
        batches.send_batch(self._client, self._info.run_id, out, with_params=True)

    def summary(self) -> records.Summary:
        """Tell what the run holds now."""
        run = self._run
        data = run.data if run else None
        return records.Summary(
            run=self._info,
            name=(run.info.run_name if run else None) or self._info.run_id,
            state=self._state(),
            seconds=self._seconds(),
            params=dict(data.params) if data else {},
            metrics=({**data.metrics} if data else {}) | {each.key: each.value for each in self._metrics},
            models=self._models(),
            problems=tuple(self._out.losses.texts()),
        )

    def notify(self) -> None:
        """Notify of the end of a flow's run."""
        new, closing, info = self._out.new, self._closing, self._info
        if closing.rolls_up and new is not None:
            notification = Notification(
                "run finished" if self.is_closed else "run left open",
                self._client,
                info.experiment_id,
                info.run_id,
                tags={**new.tags, "flowml.root_run_id": info.root_run_id},
                facts={"status": closing.status, "name": new.name},
                summary=self.summary(),
            )
            notify(notification, *self._out.subscribers)

    def _models(self) -> tuple[records.RegisteredModel, ...]:
        own = registration.versions_in(self._run.data.tags) if self._run else ()
        return tuple(dict.fromkeys([*own, *(model for child in self._children for model in child.models)]))

    def _note(self, tags: dict[str, str]) -> dict[str, str]:
        """Return the tags of the note: as the run's description, unless somebody wrote one."""
        experiment_id, run_id = self._info.experiment_id, self._info.run_id
        page = pages.of_run(experiment_id, run_id, f"{_FOLDER}/graph.svg") if self._children else None
        head = note.Head(experiment_id, self._state(), self._seconds(), tags, page, self._page_above(tags))
        text = note.write(head, self._children)
        before = tags.get(NOTE, "").strip()
        if before and _digest(before) != tags.get(_DIGEST):
            return {_ELSEWHERE: text}
        return {NOTE: text, _DIGEST: _digest(text)}

    def _page_above(self, tags: dict[str, str]) -> str | None:
        """Return the page of the run that this one was called in, if that is in another experiment."""
        above = tags.get(ELSEWHERE)
        return pages.of_run(self._client.get_run(above).info.experiment_id, above) if above else None

    def _state(self) -> str:
        told = self._run.data.tags.get("prefect.state") if self._run else None
        return told or self._closing.status.title()

    def _seconds(self) -> float:
        began = self._run.info.start_time if self._run else self._closing.ended
        return max(0.0, (self._closing.ended - began) / 1000)


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:16]
