"""The commands that keep a project in order, as they are typed."""

from __future__ import annotations

import os
import sys
import time
from contextlib import nullcontext

import cyclopts

from flowml.cli.durations import Duration
from flowml.cli.exit_codes import exit_on_error
from flowml.ops.output import data, note, say

app = cyclopts.App()


@app.command
def doctor(flow: str | None = None, /, *, workers: bool = False, json: bool = False) -> None:
    """Look for what is wrong here, and say what to do about it; ends with 1 if there is an error, else with 0.

    Versions, both servers, the environment, the database, clocks, disk, what waits to be sent. With --workers or a
    flow it looks from inside a task runner too, which takes ten seconds more. Where a Prefect server runs, that leaves
    a flow run there named flowml-doctor; it leaves nothing in MLflow.

    For example:

        flowml doctor
        flowml doctor --workers                   from inside a process pool too
        flowml doctor flows/train.py:training     with that flow's task runner
        flowml doctor --json | jq '.findings[] | select(.severity == "error")'

    Args:
        flow: A flow whose task runner and file are examined, as `flowml run` takes it.
        workers: Look from inside a process pool, too.
        json: Print JSON.
    """
    from flowml.ops.doctor.checks import doctor

    with exit_on_error():
        sys.exit(0 if doctor(flow, with_worker=workers, as_json=json) else 1)


@app.command
def reap(*, grace: Duration = 60.0, older_than: Duration = 0.0, dry_run: bool = False, json: bool = False) -> None:
    """Close the MLflow runs whose flow or task run has ended without them: killed, lost, or deleted in Prefect.

    Args:
        grace: Leave a run whose Prefect run ended less than this ago, such as 90s, 10m, 2h or 1d.
        older_than: Look only at runs that began longer ago than this.
        dry_run: Close nothing; print what would be closed.
        json: Print JSON.
    """
    from flowml.ops.reaping.reap_runs import reap_runs

    with exit_on_error():
        report = reap_runs(grace=grace, older_than=older_than, dry_run=dry_run)
        report.print(as_json=json)


@app.command
def sync(  # noqa: PLR0913 - each is an option
    *,
    to: str | None = None,
    dry_run: bool = False,
    prune: bool = False,
    watch: bool = False,
    every: Duration = 60.0,
    json: bool = False,
) -> None:
    """Bring to MLflow what waits on this machine: of processes that were killed, offline, or whose MLflow was away.

    It can be interrupted and done again, also while flows run. Of two at a time the second waits for the first.

    Args:
        to: The tracking URI of the MLflow. Default: the one that was named when the runs were made.
        dry_run: Send nothing; print what waits.
        prune: Remove what was tracked offline and is copied completely.
        watch: Look again and again, until Ctrl-C.
        every: How often to look, with --watch.
        json: Print JSON.
    """
    from flowml.errors import FlowmlError

    with exit_on_error():
        if not watch:
            sys.exit(0 if _synced(to, dry_run=dry_run, prune=prune, json=json) else 1)
        while True:
            try:
                _synced(to, dry_run=dry_run, prune=prune, json=json, quiet=True)
            except FlowmlError as error:  # a server that is away comes back
                note(f"flowml: {error}")
            time.sleep(every)


def _synced(to: str | None, *, dry_run: bool, prune: bool, json: bool, quiet: bool = False) -> bool:
    """Sync once; tell whether all is there.

    Args:
        to: Where to.
        dry_run: Only look.
        prune: Remove what is copied.
        json: Print JSON.
        quiet: Print nothing where nothing waits.
    """
    from flowml.ops.sync import journals
    from flowml.ops.sync.offline_store import sync_offline
    from flowml.store.journal.alone import alone

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # it would stand among what is said here
    agreed = _agreed if sys.stdin.isatty() and not json else None
    with nullcontext() if dry_run else alone(note):
        sent = journals.sync(to=to, dry_run=dry_run)
        copied = sync_offline(to, dry_run=dry_run, prune=prune, agreed=agreed, say=note)
    if quiet and not sent and not copied.copied.runs:
        return True
    if json:
        data({"journals": sent.as_json(), "offline": copied.as_json()})
    else:
        lines = copied.lines if copied.to else []
        for line in [*sent.lines(), *lines] if sent or not lines else lines:
            say(line)
    return sent.is_complete


@app.command
def delete(flow_run: str, /, *, yes: bool = False) -> None:
    """Delete a flow's run and all below it, after asking; `flowml restore` brings them back.

    Args:
        flow_run: The flow run's id or name in Prefect, or its run's id in MLflow.
        yes: Do not ask.
    """
    from flowml.ops.view import deleting

    with exit_on_error():
        family = deleting.family_of(flow_run)
        if family.versions:
            say(f"Registered models that were made from these runs stay: {', '.join(family.versions)}.")
        if family.still_open:
            say(f"{family.still_open} of these runs are still open: whoever writes to them will fail to.")
        count, name = len(family.run_ids), family.flow_run.info.run_name
        if not yes and not _agreed(f"Delete {count} runs, {name} and all below it?"):
            say("Nothing was deleted.")
            sys.exit(1)
        deleted = deleting.delete(family.flow_run.info.run_id)
        say(f"{deleted} runs deleted; `flowml restore {flow_run}` brings them back.")


@app.command
def restore(flow_run: str, /) -> None:
    """Bring back what `flowml delete` deleted, and nothing else.

    Args:
        flow_run: The flow run's id or name in Prefect, or its run's id in MLflow.
    """
    from flowml.ops.view import deleting

    with exit_on_error():
        say(f"{deleting.restore(flow_run)} runs restored.")


def _agreed(question: str) -> bool:
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
