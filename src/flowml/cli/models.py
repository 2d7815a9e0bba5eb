"""The commands about registered models, as they are typed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cyclopts

from flowml.cli.exit_codes import exit_on_error

app = cyclopts.App()


@app.command
def approve(
    flow_run: str, *, why: str, reject: bool = False, who: str | None = None, field: list[str] | None = None
) -> None:
    """Answer a flow that waits in `flowml.approve`.

    Args:
        flow_run: The flow run's id or name.
        why: The reason.
        reject: Refuse the version.
        who: Who decides. Default: your name on this machine.
        field: What a form of your own asks besides, as ``name=value``; the value as JSON, or as text.
    """
    import getpass

    with exit_on_error():
        from flowml.ops import prefect_api
        from flowml.registry.answering import answer

        prefect_api.address("No server of Prefect's is known, so no flow waits there")
        with prefect_api.explained():
            question, name = answer(
                flow_run, approve=not reject, why=why, who=who or getpass.getuser(), fields=_fields(field or [])
            )
    done = "Refused" if reject else "Approved"
    sys.stdout.write(f"{done} {question.model}/{question.version}; {name} goes on.\n")


@app.command
def promote(  # noqa: PLR0913 - each is typed by its name
    model: str, version: str, /, *, to: str = "champion", expect: str = "any", why: str = "", who: str = ""
) -> None:
    """Give a version of a registered model an alias; the history keeps who did it, when and why.

    For example:

        flowml promote churn 7 --why "better on recall"
        flowml promote churn 8 --to challenger
        flowml promote churn 7 --expect 6      only if version 6 is the champion now

    Args:
        model: The registered model's name.
        version: The version's number.
        to: The alias.
        expect: The version that must have the alias now; `none` for none. Default: any.
        why: The reason.
        who: Who decided. Default: the user here.
    """
    from flowml.ops import promoting

    with exit_on_error():
        promoting.promote(model, promoting.wish(to, who=who, why=why, version=version), expect=expect)


@app.command
def rollback(model: str, /, *, alias: str = "champion", why: str = "", who: str = "") -> None:
    """Give an alias back to the version that had it before; again, and it goes one version further back.

    For example:

        flowml rollback churn --why "complaints from the branch offices"

    Args:
        model: The registered model's name.
        alias: The alias.
        why: The reason.
        who: Who decided. Default: the user here.
    """
    from flowml.ops import promoting

    with exit_on_error():
        promoting.rollback(model, promoting.wish(alias, who=who, why=why))


@app.command
def history(
    model: str,
    /,
    *,
    alias: str | None = None,
    at: Annotated[str | None, cyclopts.Parameter(negative="")] = None,
    json: bool = False,
) -> None:
    """Show every move of a registered model's aliases: when, from, to, who, why, on what evidence.

    Moves that were made in MLflow's UI or by its API are among them, with the time between which they were made.

    For example:

        flowml history churn
        flowml history churn --at 2026-11-01T12:00     which version was champion then

    Args:
        model: The registered model's name.
        alias: Only the moves of this alias.
        at: Only the move that was in force at this time, of the champion or of --alias.
        json: Print JSON.
    """
    from flowml.ops.view.history import show

    with exit_on_error():
        show(model, alias=alias, at=at, as_json=json)


@app.command
def audit(version: str, /, *, verify: bool = False, json: bool = False, html: Path | None = None) -> None:
    """Show where a version comes from and who let it pass; ends with 1 if a link is missing or was changed.

    Data, code, run, metrics, model, gate, approval, moves of aliases: each link is shown, or named as missing.

    For example:

        flowml audit churn@champion
        flowml audit churn/7 --verify --html audit.html

    Args:
        version: A version of a registered model: `churn@champion` or `churn/7`.
        verify: Check also that every decision, and the evidence of each gate, is as it was written.
        json: Print JSON.
        html: Write one HTML file, which needs nothing from elsewhere and prints well.
    """
    from flowml.ops.auditing.report import audit

    with exit_on_error():
        if not audit(version, verify=verify, as_json=json, html=html):
            sys.exit(1)


def _fields(given: list[str]) -> dict[str, object]:
    """Read the fields.

    Raises:
        RegistryError: If one is not written as ``name=value``.
    """
    import json

    from flowml.errors import RegistryError

    found: dict[str, object] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not (equals and name):
            msg = f"--field {each} is not name=value."
            raise RegistryError(msg)
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found
