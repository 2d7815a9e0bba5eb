"""What an operator does, as flows: to be deployed, and run on a schedule."""

from __future__ import annotations

from typing import Any

from prefect.logging import get_run_logger

from flowml.decorators import flow
from flowml.ops.reaping.reap_runs import GRACE, reap_runs


@flow(name="flowml-reap", track=False)
def reap(grace: float = GRACE, older_than: float = 0.0, dry_run: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - a form in Prefect's UI
    """Close the MLflow runs whose flow or task run has ended without them.

    Args:
        grace: Leave a run whose Prefect run ended less than so many seconds ago.
        older_than: Look only at runs that began more than so many seconds ago.
        dry_run: Close nothing.

    Returns:
        What was closed and how many stay open, as `Report.as_json` gives it.

    Raises:
        OrchestrationError: If Prefect's API cannot be reached; nothing is closed then.
        TrackingError: If MLflow cannot be reached.

    Example:
        >>> reap.serve(name="every-ten-minutes", cron="*/10 * * * *")
    """
    report = reap_runs(grace=grace, older_than=older_than, dry_run=dry_run)
    log = get_run_logger()
    for run in report.closed:
        log.info("%s %s of %s: %s (%s)", run.run_id, run.name, run.flow_run, run.status, run.why)
    log.info("%s", report.summary)
    return report.as_json()
