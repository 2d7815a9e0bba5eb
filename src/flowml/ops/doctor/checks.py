"""All checks, in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from flowml import settings
from flowml.errors import SettingsError, TrackingError
from flowml.ops import output, prefect_address
from flowml.ops.doctor import databases, disks, environment, leftovers, reach, versions
from flowml.ops.doctor.findings import Finding, Setup
from flowml.ops.launch.loading import load
from flowml.secrets import mask
from flowml.store.backend.in_force import tracking_uri

if TYPE_CHECKING:
    import prefect


Check = Callable[[Setup], Iterable[Finding]]


def task_runner(setup: Setup) -> Iterable[Finding]:
    """Look from inside a worker process, if one is to be started: it imports both libraries, for seconds."""
    if not setup.with_worker:
        return [
            Finding("ok", "Not looked at; flowml doctor --workers, or with a flow, looks from inside a task runner")
        ]
    from flowml.ops.doctor import runners

    return runners.task_runner(setup)


CHECKS: dict[str, Check] = {
    "versions": versions.versions,
    "private names": versions.private_names,
    "bytecode": environment.compiled,
    "run id": environment.run_id,
    "autologging": environment.autologging,
    "file store": environment.file_store,
    "Prefect": reach.prefect_api,
    "MLflow": reach.mlflow,
    "task runner": task_runner,
    "SQLite": databases.sqlite,
    "clocks": reach.clocks,
    "disk": disks.disk,
    "records": leftovers.records,
    "open runs": leftovers.open_runs,
    "offline": leftovers.offline_runs,
}


def examine(flow: prefect.Flow[Any, Any] | None = None, *, with_worker: bool = False) -> Iterator[Finding]:
    """Make all checks; yields what they find, as they find it.

    Args:
        flow: A flow whose task runner and file are examined too.
        with_worker: Start a worker process, to ask from inside it; a flow's is started anyhow.
    """
    try:
        settings.reload()
    except SettingsError as error:
        yield Finding("error", str(error), "Mend it; until then flows are not tracked.", "settings")
        return
    setup = Setup(prefect_address.known(), tracking_uri(), flow, with_worker or flow is not None)
    with reach.impatient():
        for name, check in CHECKS.items():
            for finding in _made(check, setup):
                yield dataclasses.replace(finding, check=name)


def _made(check: Check, setup: Setup) -> Iterator[Finding]:
    try:
        yield from check(setup)
    except TrackingError:
        yield Finding("ok", "Not looked at: MLflow does not answer")
    except Exception as error:  # noqa: BLE001 - what one check stumbles over keeps no other from being made
        reason = mask(str(error)).partition("\n")[0][:300]
        yield Finding("warning", f"This could not be found out: {type(error).__name__}: {reason}")


def doctor(flow: str | None, *, with_worker: bool, as_json: bool) -> bool:
    """Examine this place, and print what is found as it is found.

    Args:
        flow: A flow whose task runner and file are examined too, as `load` takes it.
        with_worker: Start a worker process, to ask from inside it; a flow's is started anyhow.
        as_json: Print JSON.

    Returns:
        Whether there is no error.

    Raises:
        LookupError: If there is no such flow.
    """
    loaded = load(flow) if flow else None
    findings = []
    for finding in examine(loaded, with_worker=with_worker):
        findings.append(finding)
        if not as_json:
            _print(finding)
    errors, warnings = (sum(one.severity == kind for one in findings) for kind in ("error", "warning"))
    if as_json:
        as_dicts = [dataclasses.asdict(one) for one in findings]
        output.data({"errors": errors, "warnings": warnings, "findings": as_dicts})
    else:
        output.say(f"{errors} errors, {warnings} warnings.")
    return not errors


def _print(finding: Finding) -> None:
    """Print a line for a program; for people, with the remedy below it."""
    cells = (finding.severity, finding.check, finding.message, finding.remedy)
    if not output.is_terminal():
        output.rows((), [cells])
        return
    widths = len("warning"), max(map(len, CHECKS))
    heads = [output.cell(text, width=width) for text, width in zip(cells, widths, strict=False)]
    output.print_rich(*heads, output.cell(finding.message))
    if finding.remedy:
        output.print_rich(" " * (sum(widths) + 1), output.cell(f"-> {finding.remedy}"))
