"""Counts the tokens of MLflow's spans on the call in which they end, and links its prompts to their traces.

An answer is counted once: what a span says beyond what the spans below it have said. So the span of an agent that sums
up what its model's calls used adds nothing, and a model's own span counts although one above it is silent.
"""

from __future__ import annotations

import functools
import logging
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flowml import faults
from flowml.locks import RLock
from flowml.store.by_hand import active
from flowml.store.usage.spent import Answer, Spent
from flowml.store.usage.sums import Tokens, Usage

if TYPE_CHECKING:
    from mlflow.entities import LiveSpan, Span

_logger = logging.getLogger(__name__)
_MOST = 10_000  # spans whose children are remembered: those that never end are forgotten
_USAGE, _COST = "mlflow.chat.tokenUsage", "mlflow.llm.cost"
_MODEL, _PROVIDER = "mlflow.llm.model", "mlflow.llm.provider"
_KEYS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_NOTHING = (0, 0, 0, 0)

_Counts = tuple[int, ...]
_below: OrderedDict[str, _Counts] = OrderedDict()  # what the children of a span that is open have said
_over: OrderedDict[str, None] = OrderedDict()  # spans that have ended, and said what they used
_lock = RLock()


@lru_cache(maxsize=1)
def install() -> None:
    """Look at each span of MLflow's when it has ended, once for the process."""
    from mlflow.entities import LiveSpan

    original = LiveSpan.end

    @functools.wraps(original)
    def end(span: LiveSpan, *args: Any, **kwargs: Any) -> None:
        is_over = span.end_time_ns is not None
        if not is_over:
            _ending(span)
        original(span, *args, **kwargs)
        if not is_over:
            _ended(span)

    setattr(LiveSpan, "end", end)  # noqa: B010 - a method is replaced


def _ending(span: LiveSpan) -> None:
    """Let the trace have the prompts that the call was given, as MLflow does with one that is loaded inside a trace."""
    session = active.here_or_only()
    if session is None or not session.logged.prompts:
        return
    try:
        from mlflow.tracing.trace_manager import InMemoryTraceManager

        with suppress(KeyError):  # of a trace that is exported already
            for prompt in session.logged.prompts:
                InMemoryTraceManager.get_instance().register_prompt(span.trace_id, prompt)
    except Exception as error:  # noqa: BLE001 - of MLflow: the user's code goes on
        faults.tell("link prompts to a trace", error, _logger)


def _ended(span: LiveSpan) -> None:
    said = span.get_attribute(_USAGE)
    if said is None and not _below:
        return
    try:
        answer = _take(span, _counts(said) if isinstance(said, Mapping) else None)
        if answer and (session := active.here_or_only()):
            session.logged.spent.take(answer)
    except Exception as error:  # noqa: BLE001 - flowml's own: the user's code goes on
        faults.tell("count the tokens of a span", error, _logger)


def _take(span: LiveSpan, said: _Counts | None) -> Answer | None:
    """Return what a span says beyond those below it; those above it are told of both."""
    parent, this = span.parent_id, span.span_id  # random numbers: they need no trace's id beside them
    with _lock:
        below = _below.pop(this, _NOTHING)
        if said is None and below == _NOTHING:
            return None
        if said is not None:
            _remember(_over, this, None)
        if parent is not None:
            if parent in _over:
                return None  # it ends after the one that has said it all
            both = tuple(max(mine, theirs) for mine, theirs in zip(said or _NOTHING, below, strict=True))
            so_far = _below.get(parent, _NOTHING)
            _remember(_below, parent, tuple(a + b for a, b in zip(so_far, both, strict=True)))
    return _answer(span, said or _NOTHING, below)


def usage_of(spans: Sequence[Span]) -> Usage:
    """Return what the spans of one trace have used: each answer once, as it is counted while they end."""
    below: dict[str, list[Span]] = {}
    for span in spans:
        below.setdefault(span.parent_id or "", []).append(span)
    spent = Spent()

    def said_by(span: Span) -> _Counts:
        said = span.get_attribute(_USAGE)
        mine = _counts(said) if isinstance(said, Mapping) else _NOTHING
        theirs = tuple(map(sum, zip(_NOTHING, *map(said_by, below.get(span.span_id, ())), strict=True)))
        if answer := _answer(span, mine, theirs):
            spent.take(answer)
        return tuple(map(max, mine, theirs))

    ids = {span.span_id for span in spans}
    for span in spans:
        if span.parent_id not in ids:
            said_by(span)
    return spent.usage()


def _answer(span: Span, said: _Counts, below: _Counts) -> Answer | None:
    """Return what a span says beyond those below it; None if that is nothing."""
    beyond = tuple(max(mine - theirs, 0) for mine, theirs in zip(said, below, strict=True))
    if not any(beyond):
        return None
    told = _cost(span.get_attribute(_COST)) if below == _NOTHING else None
    given, answered, cached, written = beyond
    tokens = Tokens(1, given, answered, cached, written)
    return Answer(span.get_attribute(_MODEL), span.get_attribute(_PROVIDER), tokens, told)


def _remember(kept: OrderedDict[str, Any], key: str, value: object) -> None:
    kept[key] = value
    if len(kept) > _MOST:
        kept.popitem(last=False)


def _counts(said: Mapping[str, Any]) -> _Counts:
    found = (said.get(key) for key in _KEYS)
    return tuple(max(int(each), 0) if isinstance(each, int | float) else 0 for each in found)


def _cost(said: object) -> Decimal | None:
    total = said.get("total_cost") if isinstance(said, Mapping) else None
    return Decimal(repr(total)) if isinstance(total, int | float) else None


def _forget() -> None:
    """Let a forked child begin anew."""
    _below.clear()
    _over.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
