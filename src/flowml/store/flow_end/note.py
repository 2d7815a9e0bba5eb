"""The note on a flow's run: how it ended, and a table of what it called, in Markdown for MLflow's UI."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flowml import formats, mlflow_limits
from flowml.formats import duration, number
from flowml.store.backend import urls
from flowml.store.flow_end.child_runs import ChildRun, error_of
from flowml.store.flow_end.rollup import PEAK, SYSTEM
from flowml.store.usage.sums import Usage

_ALONE = 10  # so many calls of one task have a row each; more have one for all, and one for each that failed
_FAILED = 5  # of those the first
_TOLD = 3  # failures with their errors above the table, most of which MLflow folds away
_METRICS = 4  # in a row
_MODELS = 5  # whose tokens are told apart
_TOGETHER = "\N{NO-BREAK SPACE}"  # between a metric's name and value: the column is narrow beside long names
_HEADING = ("Task", "State", "Attempts", "Cached", "Duration", "Metrics", "Prefect")
_ROOM = mlflow_limits.TAG - 200  # what is left is for the last line
_GAP = "&emsp;"  # MLflow's page shows tables without any space between their columns


@dataclass(frozen=True, slots=True)
class Head:
    """What the note says of the flow run itself.

    Attributes:
        experiment_id: The experiment of all runs.
        state: How it ended.
        seconds: How long it took.
        tags: Its run's tags, with where it is in Prefect, what deployed it and why it failed.
        graph: The page with its graph; None if there is none.
        above: The page of the run that it was called in, if that is in another experiment.
        used: What it and all that it called asked of language models.
    """

    experiment_id: str
    state: str
    seconds: float
    tags: Mapping[str, str]
    graph: str | None
    above: str | None = None
    used: Usage = field(default_factory=Usage)


def write(head: Head, children: Sequence[ChildRun]) -> str:
    """Write the note, within what a tag of MLflow holds.

    Args:
        head: What it says of the flow run itself.
        children: What the flow called, each once.

    Returns:
        Markdown.
    """
    failed = [child for child in children if _has_failed(child)]
    lines = [*_about(head, failed), *_machine(children)]
    if not children:
        return "\n".join(lines)
    lines += ["", *formats.rows([_apart(_HEADING)])]
    room, shown = _ROOM - sum(len(line) + 1 for line in lines), 0
    for row, counted in _rows(head.experiment_id, children):
        line = formats.rows([_apart(row)])[0]
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
        shown += counted
    if shown < len(children):
        lines += ["", f"… and {len(children) - shown:,} more."]
    return "\n".join(lines)


def _apart(row: Sequence[str]) -> list[str]:
    """Keep the cells of a row from touching each other on the page."""
    *cells, last = row
    return [*(f"{cell}{_GAP}" if cell else "" for cell in cells), last]


def _about(head: Head, failed: Sequence[ChildRun]) -> Iterator[str]:
    tags, link = head.tags, formats.link
    parts = [f"**{formats.text(head.state)}** after {duration(head.seconds)}"]
    if url := tags.get("prefect.flow_run_url"):
        parts.append(link("Flow run in Prefect", url))
    if deployment_id := tags.get("prefect.deployment_id"):
        name = tags.get("prefect.deployment_name", deployment_id)
        parts.append(f"deployment {link(name, tags.get('prefect.deployment_url'))}")
    if schedule := tags.get("prefect.schedule"):
        parts.append(f"schedule {formats.text(schedule)}")
    trace_id = tags.get("flowml.trace_id")
    pages = {
        "Graph": head.graph,
        "Trace": urls.of_trace(head.experiment_id, trace_id) if trace_id else None,
        "Called by": head.above,
    }
    parts += [link(name, page) for name, page in pages.items() if page]
    yield " · ".join(parts)
    yield from _used(head.used)
    own = error_of(tags)
    if failed or any(own):
        yield ""
    for child in failed[:_TOLD]:
        yield f"* {_link(head.experiment_id, child)} failed: {_error(child.error)}"
    if len(failed) > _TOLD:
        yield f"* … and {len(failed) - _TOLD:,} more failed."
    if any(own) and own not in {child.error for child in failed[:_TOLD]}:
        yield f"* {_error(own)}"


def _used(used: Usage) -> Iterator[str]:
    """Tell tokens and cost, of each model if there are several."""
    if not used:
        return
    yield ""
    calls = used.total.calls
    yield f"{calls:,} answer{'s' if calls != 1 else ''} of language models: {formats.text(used, most=300)}"
    if len(used.models) > 1:
        most = sorted(used.models.items(), key=lambda each: -(each[1].cost or 0))[:_MODELS]
        yield from [
            "",
            *(f"* {formats.text(name)}: {formats.text(Usage({name: each}), most=300)}" for name, each in most),
        ]
        if len(used.models) > _MODELS:
            yield f"* … and {len(used.models) - _MODELS:,} more models."


def _machine(children: Iterable[ChildRun]) -> Iterator[str]:
    """Tell the most memory that a call held, and which processes of a training were lost."""
    peaks: dict[str, tuple[float, str]] = {}
    lost = []
    for child in children:
        if child.ranks_lost:
            lost.append(f"* {formats.text(child.name, most=60)}: {formats.text(child.ranks_lost, most=300)}")
        for key, value in child.metrics.items():
            if PEAK in key and key.startswith(SYSTEM):
                name = key.removeprefix(SYSTEM).replace(PEAK, "").replace("_", " ").removesuffix(" megabytes")
                peaks[name] = max(peaks.get(name, (0.0, "")), (value, child.name))
    if peaks:
        told = [f"{name} {value:,.0f}{_TOGETHER}MB in {by}" for name, (value, by) in sorted(peaks.items())]
        yield from ("", f"Most at a time: {formats.text(', '.join(told), most=300)}")
    if lost:
        yield from ("", *lost[:_TOLD])


def _error(error: tuple[str, str]) -> str:
    kind, text = error
    said = formats.text(text, most=300)
    return f"{formats.text(kind)}: {said}" if kind else said or "it does not say why"


def _rows(experiment_id: str, children: Sequence[ChildRun]) -> Iterator[tuple[list[str], int]]:
    """Give each row with the number of calls that it is about."""
    groups: defaultdict[tuple[str, bool], list[ChildRun]] = defaultdict(list)
    for child in children:
        groups[child.owner, child.is_flow].append(child)
    for (owner, _), group in sorted(groups.items(), key=lambda each: not any(map(_has_failed, each[1]))):
        if len(group) <= _ALONE:
            for child in sorted(group, key=lambda child: not _has_failed(child)):
                yield _row(experiment_id, child), 1
        else:
            yield _row_of_many(owner, group), len(group)
            for child in [child for child in group if _has_failed(child)][:_FAILED]:
                yield _row(experiment_id, child), 0


def _has_failed(child: ChildRun) -> bool:
    return child.status == "FAILED"


def _link(experiment_id: str, child: ChildRun) -> str:
    page = urls.of_run(child.experiment_id or experiment_id, child.run_id) if child.run_id else None
    return formats.link(child.name, page, most=60)


def _row(experiment_id: str, child: ChildRun) -> list[str]:
    return [
        _link(experiment_id, child),
        formats.text(child.state),
        str(child.attempt),
        "yes" if child.cached else "",
        "" if child.seconds is None else duration(child.seconds),
        _metrics({key: number(value) for key, value in child.metrics.items()}),
        formats.link("open", child.page) if child.page else "",
    ]


def _row_of_many(owner: str, group: Sequence[ChildRun]) -> list[str]:
    states = Counter(child.state for child in group)
    attempts = sum(child.attempt for child in group)
    seconds = [child.seconds for child in group if child.seconds is not None]
    found: defaultdict[str, list[float]] = defaultdict(list)
    for child in group:
        for key, value in child.metrics.items():
            found[key].append(value)
    return [
        f"{formats.text(owner, most=60)} × {len(group):,}",  # noqa: RUF001 - times
        ", ".join(f"{count:,} {formats.text(state)}" for state, count in states.most_common()),
        f"{attempts:,}",
        f"{cached:,}" if (cached := sum(child.cached for child in group)) else "",
        _spread([duration(each) for each in _three(seconds)]) if seconds else "",
        _metrics({key: _spread([number(each) for each in _three(all_)]) for key, all_ in found.items()}),
        "",
    ]


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.fmean(values), min(values), max(values)


def _spread(three: Iterable[str]) -> str:
    mean, least, most = three
    return f"{mean} ({least} to {most})"


def _metrics(values: Mapping[str, str]) -> str:
    """Show the first metrics; those of the machine say nothing about the work."""
    own = [key for key in values if not key.startswith("system/")]
    shown = [f"{formats.text(key, most=40)}{_TOGETHER}{values[key]}" for key in own[:_METRICS]]
    return ", ".join([*shown, "…"] if len(own) > _METRICS else shown)
