"""What a gate decided, and on what evidence: as an object, as JSON, as text, as a table for both UIs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

from flowml import formats
from flowml.formats import number

Outcome: TypeAlias = Literal["passed", "failed", "not applicable"]

NOT_APPLICABLE: Final = "not applicable"
"""The verdict on a rule that compares, where there is nothing to compare with."""

FILE = "gate/evidence.json"
"""The artifact of the gate's run that holds the evidence; its SHA-256 is the digest."""

TABLE = "gate/rules.json"
"""The artifact that MLflow shows as a table."""

_HEADING = ("Rule", "Candidate", "Champion", "Difference", "Interval", "Verdict", "Why")


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one rule.

    Attributes:
        rule: The rule, as it is written in code.
        metric: The metric's name.
        where: Which rows it is about, as a pandas query; None for all.
        rows: How many these are.
        candidate: The candidate's value.
        champion: The champion's; None if there is no champion.
        difference: The candidate's value less the champion's.
        interval: Between what that difference is; None of a rule that does not compare.
        method: How the interval was found.
        verdict: ``"passed"``, ``"failed"`` or ``"not applicable"``.
        reason: Why.
    """

    rule: str
    metric: str
    where: str | None
    rows: int
    candidate: float
    champion: float | None
    difference: float | None
    interval: tuple[float, float] | None
    method: str | None
    verdict: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `gate` decided; true if the candidate passed.

    Attributes:
        passed: Whether no rule failed.
        results: What came of each rule.
        model: The registered model that it is about; None if neither candidate nor champion is of one.
        candidate: The candidate's version of that model, or else the id of the logged model; None if it is not logged.
        champion: The champion's version, or the id of the logged model; None if there is none, or it is not logged.
        alone: Why there was nothing to compare with; empty if there was.
        rows: On how many rows they were compared.
        digest: The SHA-256 of the evidence, the artifact ``gate/evidence.json``.
        run_id: The MLflow run that holds it; None if the gate was not tracked.
    """

    passed: bool
    results: tuple[Result, ...]
    model: str | None
    candidate: str | None
    champion: str | None
    alone: str
    rows: int
    digest: str = ""
    run_id: str | None = None

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        """Tell it in some lines: the verdict, and a line for each rule."""
        told = [f"  {each.verdict}: {each.rule}: {_values(each)}{each.reason}" for each in self.results]
        return "\n".join([f"{headline(self)}.", *told])


def headline(verdict: Verdict) -> str:
    """Say in one line what was decided about what."""
    candidate = named(verdict.model, verdict.candidate) or "The candidate"
    against = (
        f"without a champion ({verdict.alone})"
        if verdict.alone
        else (f"against {named(verdict.model, verdict.champion) or 'the champion'}")
    )
    return f"{candidate} {'passed' if verdict.passed else 'failed'} {against} on {verdict.rows:,} rows"


def named(model: str | None, one: str | None) -> str | None:
    """Name a version with its model, and a logged model by its id."""
    return f"{model}/{one}" if model and one and one.isdigit() else one


def written(verdict: Verdict, facts: Mapping[str, Any]) -> tuple[str, str]:
    """Write the evidence as JSON.

    Args:
        verdict: What was decided; where and when is no evidence, so that the same gives the same.
        facts: What else belongs to it: the data, how rows were drawn.

    Returns:
        The text, and its digest.
    """
    told = {name: value for name, value in asdict(verdict).items() if name not in {"digest", "run_id"}}
    text = json.dumps({**told, **facts}, indent=2, sort_keys=True, allow_nan=False, default=str)
    return text, digest_of(text)


def digest_of(text: str) -> str:
    """Return the SHA-256 of the evidence, as ``sha256sum gate/evidence.json`` says it."""
    return hashlib.sha256(text.encode()).hexdigest()


def read(text: str, *, digest: str, run_id: str | None) -> Verdict:
    """Read a verdict back from its evidence.

    Raises:
        ValueError: If it is no evidence, or not the one of that digest.
    """
    if digest_of(text) != digest:
        msg = f"{FILE} of run {run_id} was changed after the gate wrote it: its digest is not {digest}."
        raise ValueError(msg)
    told = json.loads(text)
    results = tuple(Result(**each | {"interval": _pair(each["interval"])}) for each in told["results"])
    known = {name: told[name] for name in ("passed", "model", "candidate", "champion", "alone", "rows")}
    return Verdict(results=results, digest=digest, run_id=run_id, **known)


def _pair(ends: list[float] | None) -> tuple[float, float] | None:
    return (ends[0], ends[1]) if ends else None


def columns(verdict: Verdict) -> dict[str, list[str]]:
    """Return the table as MLflow takes it: a list for each column."""
    rows = [_cells(each) for each in verdict.results]
    return {name: [row[place] for row in rows] for place, name in enumerate(_HEADING)}


def markdown(verdict: Verdict, most: int) -> str:
    """Write it for the pages of both UIs, where names are shown as they are.

    Args:
        verdict: What was decided.
        most: How many characters there is room for; rules beyond are counted.
    """
    rows = [tuple(formats.text(cell, most=160) for cell in _cells(each)) for each in verdict.results]
    head = f"**{'Passed' if verdict.passed else 'Failed'}**: {formats.text(headline(verdict), most=400)}."
    for shown in range(len(rows), -1, -1):
        left = [f"And {len(rows) - shown} more rules: see {FILE}."] if shown < len(rows) else []
        text = "\n".join([head, "", *formats.rows([_HEADING, *rows[:shown]]), "", *left]).rstrip()
        if len(text) <= most:
            return text
    return head[:most]


def _cells(result: Result) -> tuple[str, ...]:
    ends = result.interval
    return (
        result.rule,
        number(result.candidate),
        "" if result.champion is None else number(result.champion),
        "" if result.difference is None else f"{result.difference:+.4g}",
        "" if ends is None else f"{ends[0]:+.4g} to {ends[1]:+.4g}",
        result.verdict,
        result.reason,
    )


def _values(result: Result) -> str:
    if result.champion is None:
        return "" if result.verdict != NOT_APPLICABLE else f"{number(result.candidate)}; "
    return f"{number(result.candidate)} against {number(result.champion)}; "
