"""Tells of a run what becomes known of it in the background: that it was created, and what it held when it ended."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from flowml import records
from flowml.secrets.uris import without_credentials
from flowml.store.backend import embedded, urls
from flowml.store.backend.connection import Connection, ui_of
from flowml.store.backend.notifications import Notification
from flowml.store.own_run import OwnRun
from flowml.store.runs import Run
from flowml.store.sending.writer import writer_of
from flowml.store.summarized_run import SummarizedRun
from flowml.store.waiting.queue import Created

Opened = Callable[[records.CurrentRun], None]
Ended = Callable[[records.Summary], None]


def watch_run(run: Run, opened: Opened | None, ended: Ended | None = None) -> None:
    """Have somebody told of a run of one's own; nobody waits for it, and it is told in the thread that sends.

    Args:
        run: The run; one that gets a run later, if ever, is watched from then on.
        opened: Told which run it is, when it is created.
        ended: Told what a flow's run holds, when it is closed; again, if it goes on and is closed again.
    """
    if isinstance(run, SummarizedRun):
        run.on_opened = partial(_watch, opened=opened, ended=ended)
    elif run.own:
        _watch(run.own, opened, ended)


def _watch(run: OwnRun, opened: Opened | None, ended: Ended | None) -> None:
    store = run.store  # not the run: it would hold what waits for it, and that the run, in a cycle
    if opened:

        def tell_opened(created: Future[Created]) -> None:
            if not created.exception(0):
                opened(_with_page(store.reached, created.result(0).info))

        run.out.created.add_done_callback(tell_opened)
    if ended:

        def tell_ended(notification: Notification) -> None:
            summary = notification.summary
            if summary and summary.run:
                ended(dataclasses.replace(summary, run=_with_page(store.reached, summary.run)))

        run.out.subscribers.append(tell_ended)


def _with_page(connection: Connection, info: records.CurrentRun) -> records.CurrentRun:
    return dataclasses.replace(info, url=connection.page_of(info.experiment_id, info.run_id))


def when_known(run: Run, tell: Callable[[records.Caller], None]) -> None:
    """Tell what calls in other processes need to hang under a run: now if it is known, else when it is created."""
    target = run.target
    if target is None or run.is_known:
        tell(run.as_caller())
        return
    store, children, key = target.store, target.children, target.out.delay.key  # not the run, as above

    def tell_created(created: Future[Created]) -> None:
        if not created.exception(0):
            tell(store.reached.caller(_with_page(store.reached, created.result(0).info), children, key))

    target.out.created.add_done_callback(tell_created)


def begin_attempt(run: Run, attempt: int) -> None:
    """Go on in a flow's run with another attempt."""
    if run.own:
        run.own.begin_attempt(attempt)


def unsent(run: Run) -> records.Summary | None:
    """Tell how much is not sent of a flow that has ended, below it too; None if its run is closed, or goes on."""
    own = run.own
    if own is None or not own.out.is_ending or not own.out.new:
        return None
    out, new = own.out, own.out.new
    is_refused = out.created.done() and out.created.exception(0) is not None
    return records.Summary(
        run=None,
        name=new.name,
        state="Ended",
        seconds=max(0.0, time.time() - new.started / 1000),
        problems=tuple(out.losses.texts()),
        waiting=0 if is_refused else max(1, writer_of(own.connection).count_waiting(out)),
    )


def command(run: Run) -> str | None:
    """Return the command that shows the store that a run is in, where no page is known."""
    if run.own is None:
        return None
    uri = run.own.connection.uri
    if uri == embedded.default_uri():
        return "flowml up"
    return None if uri.startswith("databricks") else f"mlflow ui --backend-store-uri {without_credentials(uri)}"


def model_page(run: Run, model: records.RegisteredModel) -> str | None:
    """Return the page of a registered model's version, if a server is known."""
    connection = run.own.connection if run.own else None
    ui = ui_of(connection.uri) if connection and not connection.registry_uri else None
    return urls.under(ui, urls.of_model_version(model.name, model.version)) if ui else None
