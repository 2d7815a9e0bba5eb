"""What a person is shown who is to approve a version: the question, the gate's evidence, and both pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from flowml import formats
from flowml.capture.inside import current_run
from flowml.capture.links import urls as prefect_urls
from flowml.capture.reading import connection_here
from flowml.registry import evidence
from flowml.store.backend import urls
from flowml.store.backend.connection import ui_of

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from flowml.registry.waiting import Question
    from flowml.store.ledger import Entry

_NUMBERED = re.compile(r"&(?:#(\d+)|amp);")
_LOOKALIKES = {"[": "(", "]": ")", "|": "/", "`": "'", "\\": "/", "*": "\N{ASTERISK OPERATOR}"}
_LOOKALIKES["<"] = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"
_LOOKALIKES[">"] = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
_MOST_TEXT = 6000  # characters of the evidence


def question_text(question: Question, flow_run: FlowRun, shown: Entry | None, *, why: str, problem: str) -> str:
    """Write what stands above the form, as Markdown.

    Args:
        question: What is asked.
        flow_run: The flow run that asks.
        shown: The gate's verdict; None if there was none.
        why: Why it is asked.
        problem: What was wrong with the answer before; empty for the first time.
    """
    lines = [f"**The last answer was not accepted:** {formats.text(problem, 500)}.", ""] if problem else []
    lines += [f"May version {question.version} of {formats.text(question.model)} be released?", ""]
    if why:
        lines += [formats.text(why, 1000), ""]
    lines += [*_evidence(shown), "", " · ".join(_links(question, flow_run))]
    if question.until is not None:
        until = datetime.fromtimestamp(question.until / 1000, timezone.utc)
        lines += ["", f"Until {until:%Y-%m-%d %H:%M} UTC."]
    return _NUMBERED.sub(_lookalike, "\n".join(lines))


def _lookalike(numbered: re.Match[str]) -> str:
    """Write a numbered character as one that means nothing in Markdown: Prefect's form shows the number as it is."""
    character = chr(int(numbered[1])) if numbered[1] else "&"
    return _LOOKALIKES.get(character, character)


def _evidence(shown: Entry | None) -> Iterator[str]:
    if shown is None:
        yield "No gate has compared it."
        return
    digest = digest_of(shown)
    yield f"Evidence {digest[:12]}:"
    yield ""
    if digest != shown.digest:
        yield _verdict(shown, digest)
        return
    yield f"{formats.text(shown.decision.who)}: {formats.text(shown.decision.why, 500)}"


def digest_of(shown: Entry) -> str:
    """Return the digest of what a gate's entry rests on: that of its evidence, or else its own."""
    return str(shown.decision.facts.get("evidence") or shown.digest)


def _verdict(shown: Entry, digest: str) -> str:
    """Write the gate's evidence, or why it is not to be had: whoever is asked must know."""
    import mlflow

    run_id = shown.decision.run_id
    try:
        place = connection_here().client.get_run(str(run_id)).info.artifact_uri
        text = mlflow.artifacts.load_text(f"{place}/{evidence.FILE}")
        return evidence.markdown(evidence.read(text, digest=digest, run_id=run_id), _MOST_TEXT)
    except Exception as error:  # noqa: BLE001 - of MLflow, the artifact store, what somebody has changed
        passed = "passed" if shown.decision.facts.get("passed") else "failed"
        return f"The gate said that it {passed}. Its evidence cannot be read: {formats.text(error, 500)}"


def _links(question: Question, flow_run: FlowRun) -> Iterator[str]:
    yield formats.link("flow run in Prefect", prefect_urls.page_of("flow-run", flow_run.id))
    run = current_run()
    yield formats.link("run in MLflow", run.url if run else None)
    connection = connection_here()
    ui = ui_of(connection.uri) if not connection.registry_uri else None
    page = urls.under(ui, urls.of_version(question.model, question.version)) if ui else None
    yield formats.link(f"version {question.version} in MLflow", page)
