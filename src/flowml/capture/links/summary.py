"""The Markdown that a flow run shows in Prefect of its run in MLflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from flowml import describe, formats, records
from flowml.formats import duration, number

_MOST = 50  # rows of a table


def write(
    summary: records.Summary, command: str | None, page_of: Callable[[records.RegisteredModel], str | None]
) -> str:
    """Write what a flow's run holds in MLflow.

    Args:
        summary: What it holds.
        command: Shows MLflow's UI, where no address of it is known.
        page_of: Finds the page of a registered model's version.
    """
    lines = list(_about(summary, command))
    metrics = {key: number(value) for key, value in summary.metrics.items()}
    lines += _table("Metrics", ("Metric", "Value"), metrics)
    lines += _table("Parameters", ("Parameter", "Value"), dict(sorted(summary.params.items())))
    if summary.models:
        rows = [
            (formats.link(each.name, page_of(each)), each.version, _shown(each.alias or "")) for each in summary.models
        ]
        lines += ["", "## Registered models", "", *formats.rows([("Model", "Version", "Alias"), *rows[:_MOST]])]
        lines += _more(len(rows))
    return "\n".join(lines) + "\n"


def _about(summary: records.Summary, command: str | None) -> Iterator[str]:
    url = summary.run.url if summary.run else None
    state, seconds = _shown(summary.state), duration(summary.seconds)
    yield f"**{formats.link(describe.mask(summary.name), url)}** · {state} after {seconds}"
    yield ""
    if summary.waiting:
        runs = "1 run has" if summary.waiting == 1 else f"{summary.waiting:,} runs have"
        yield f"**Not all is in MLflow yet**: {runs} something to send, which waits on the disk of their machine. "
        yield "This process sends it when MLflow answers; else the next flow there does, or `flowml sync`."
    elif summary.problems:
        yield f"**Not all could be sent to MLflow**; {len(summary.problems):,} left out:"
        yield ""
        yield from (f"* {_shown(problem, most=600)}" for problem in summary.problems[:5])
    else:
        yield "All was sent to MLflow."
    if url is None and command:
        yield ""
        yield f"MLflow has no page for it while no server runs: `{command}` shows it."


def _table(title: str, heading: tuple[str, str], values: Mapping[str, str]) -> list[str]:
    if not values:
        return []
    rows = [(_shown(key), _shown(value, most=200)) for key, value in list(values.items())[:_MOST]]
    return ["", f"## {title}", "", *formats.rows([heading, *rows]), *_more(len(values))]


def _more(number: int) -> list[str]:
    return ["", f"… and {number - _MOST:,} more."] if number > _MOST else []


def _shown(value: str, most: int = 80) -> str:
    return formats.text(describe.mask(value), most)
