"""What a person is shown who is to approve a version: the question, the gate's evidence, and both pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from flowml import formats
from flowml.capture.inside import current_run
from flowml.capture.links import urls as prefect_urls
from flowml.capture.reading import connection_here
from flowml.store.backend import urls
from flowml.store.backend.connection import ui_of

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from flowml.registry.waiting import Question
    from flowml.store.ledger import Entry

_MOST_ROWS = 20


def question_text(question: Question, flow_run: FlowRun, shown: Entry | None, *, why: str, problem: str) -> str:
    """Write what stands above the form, as Markdown.

    Args:
        question: What is asked.
        flow_run: The flow run that asks.
        shown: The gate's verdict; None if there was none.
        why: Why it is asked.
        problem: What was wrong with the answer before; empty for the first time.
    """
    lines = [f"**The last answer was not accepted: {formats.text(problem, 500)}.**", ""] if problem else []
    lines += [f"May version {question.version} of {formats.text(question.model)} be released?", ""]
    if why:
        lines += [formats.text(why, 1000), ""]
    lines += [*_evidence(shown), "", " · ".join(_links(question, flow_run))]
    if question.until is not None:
        until = datetime.fromtimestamp(question.until / 1000, timezone.utc)
        lines += ["", f"Until {until:%Y-%m-%d %H:%M} UTC."]
    return "\n".join(lines)


def _evidence(shown: Entry | None) -> Iterator[str]:
    if shown is None:
        yield "No gate has compared it."
        return
    decision = shown.decision
    yield f"Evidence {shown.digest[:12]}, by {formats.text(decision.who)}: {formats.text(decision.why, 500)}".rstrip(
        ": "
    )
    yield ""
    tables: list[list[Mapping[str, Any]]] = []
    for name, value in decision.facts.items():
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            tables.append(value)
        elif not isinstance(value, list | Mapping):
            yield f"- {formats.text(name)}: {_cell(value)}"
    for rows in tables:
        heading = list(dict.fromkeys(name for row in rows for name in row))
        cells = [[_cell(row.get(name, "")) for name in heading] for row in rows[:_MOST_ROWS]]
        yield ""
        yield from formats.rows([[formats.text(name) for name in heading], *cells])


def _cell(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return formats.number(value)
    return formats.text(value)


def _links(question: Question, flow_run: FlowRun) -> Iterator[str]:
    yield formats.link("flow run in Prefect", prefect_urls.page_of("flow-run", flow_run.id))
    run = current_run()
    yield formats.link("run in MLflow", run.url if run else None)
    connection = connection_here()
    ui = ui_of(connection.uri) if not connection.registry_uri else None
    page = urls.under(ui, urls.of_model_version(question.model, question.version)) if ui else None
    yield formats.link(f"version {question.version} in MLflow", page)
