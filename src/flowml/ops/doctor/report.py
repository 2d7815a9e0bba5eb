"""The findings, for people and for programs."""

from __future__ import annotations

import dataclasses

from flowml.ops.doctor.checks import CHECKS, examine
from flowml.ops.doctor.findings import Finding
from flowml.ops.launch.loading import load
from flowml.ops.view import output


def doctor(flow: str | None, *, as_json: bool) -> bool:
    """Examine this place, and print what is found as it is found.

    Args:
        flow: A flow whose task runner and file are examined too, as `load` takes it.
        as_json: Print JSON.

    Returns:
        Whether there is no error.

    Raises:
        LookupError: If there is no such flow.
    """
    loaded = load(flow) if flow else None
    found = []
    for finding in examine(loaded):
        found.append(finding)
        if not as_json:
            _print(finding)
    errors, warnings = (sum(one.severity == kind for one in found) for kind in ("error", "warning"))
    if as_json:
        told = [dataclasses.asdict(one) for one in found]
        output.data({"errors": errors, "warnings": warnings, "findings": told})
    else:
        output.say(f"{errors} errors, {warnings} warnings.")
    return not errors


def _print(finding: Finding) -> None:
    """Print a line for a program; for people, with the remedy below it."""
    told = (finding.severity, finding.check, finding.message, finding.remedy)
    if not output.is_terminal():
        output.rows((), [told])
        return
    widths = len("warning"), max(map(len, CHECKS))
    heads = [output.cell(text, width=width) for text, width in zip(told, widths, strict=False)]
    output.print_rich(*heads, output.cell(finding.message))
    if finding.remedy:
        output.print_rich(" " * (sum(widths) + 1), output.cell(f"-> {finding.remedy}"))
