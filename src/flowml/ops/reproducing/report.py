"""Says what came of running a flow again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from flowml.ops import output
from flowml.ops.reproducing.causes import Cause
from flowml.ops.reproducing.compare import Compared, Difference
from flowml.ops.reproducing.recorded import Recorded
from flowml.ops.view import facts

_MOST = 20  # lines of one kind


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    Attributes:
        before: The run that was repeated.
        after: The run that repeats it.
        compared: What was compared, and what differs.
        causes: What was another when it was made.
        kept: The folder of what was built, if it is still there.
    """

    before: Recorded
    after: Recorded
    compared: Compared
    causes: list[Cause]
    kept: str | None


def show(result: Result, store: facts.Paged, *, as_json: bool) -> None:
    """Print it."""
    if as_json:
        output.data(_as_data(result, store))
        return
    compared = result.compared
    for word, one in (("Run", result.before), ("Again", result.after)):
        page = store.page_of(one.run.info.experiment_id, one.run.info.run_id)
        output.say(f"{word:8} {facts.owner_of(one.run)} / {facts.name_of(one.run)} {page or one.run.info.run_id}")
    _some("Differs", [_difference(one) for one in compared.differences])
    _some(
        "Since" if compared.differences else "Other",
        [f"{one.what} {one.before} -> {one.after}" for one in result.causes],
    )
    if result.before.origin.code.diff == "masked":
        output.say("Masked   secrets in the changes since the commit; the code that was run has ******** for them.")
    if result.before.origin.code.left_out:
        output.say(f"Unknown  files that git did not know: {', '.join(result.before.origin.code.left_out)}")
    if compared.left_out:
        output.say(f"Cached   {compared.left_out} task runs were not compared: their results came from a cache.")
    if result.kept:
        output.say(f"Kept     {result.kept}")
    what = ", ".join(f"{compared.counts[kind]} {word}" for kind, word in _WORDS.items())
    output.say(f"{'Equal' if not compared.differences else 'Compared':8} {what}")


_WORDS = {"state": "runs", "param": "params", "data": "datasets", "metric": "metrics"}


def _some(title: str, lines: list[str]) -> None:
    for line in lines[:_MOST]:
        output.say(f"{title:8} {line}")
    if len(lines) > _MOST:
        output.say(f"{title:8} and {len(lines) - _MOST} more; --json has all.")


def _difference(one: Difference) -> str:
    if one.kind == "data":
        return f"the data of `{one.of}`: {one.name}: digest {_text(one.before)} -> {_text(one.after)}"
    if one.kind == "runs":
        return f"`{one.of}` ran {one.before} times -> {one.after} times"
    what = f"{one.kind} {one.name}".strip()
    return f"{what} of `{one.of}`: {_text(one.before)} -> {_text(one.after)}"


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.10g}" if isinstance(value, float) else str(value)[:200]


def _as_data(result: Result, store: facts.Paged) -> dict[str, Any]:
    return {
        "equal": not result.compared.differences,
        "run": facts.as_data(store, result.before.run),
        "again": facts.as_data(store, result.after.run),
        "differences": [asdict(one) for one in result.compared.differences],
        "causes": [asdict(one) for one in result.causes],
        "compared": {word: result.compared.counts[kind] for kind, word in _WORDS.items()},
        "not_compared": result.compared.left_out,
        "diff": result.before.origin.code.diff,
        "left_out": result.before.origin.code.left_out,
        "kept": result.kept,
    }
