"""The commands that decide about registered models, as they are typed."""

from __future__ import annotations

import sys

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
