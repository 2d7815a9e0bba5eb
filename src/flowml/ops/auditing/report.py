"""What ``flowml audit`` says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowml.errors import RegistryError
from flowml.ops import output
from flowml.ops.auditing import checks
from flowml.ops.auditing.chain import Chain, Link, chain_of
from flowml.ops.auditing.page import page_of
from flowml.ops.runs import connected
from flowml.store.backend.failures import explained
from flowml.store.registered.references import find, parse

_MOST = 5  # values of one link that a line shows


def audit(version: str, *, verify: bool, as_json: bool, html: Path | None) -> bool:
    """Show where a version comes from and who let it pass.

    Args:
        version: What names it, such as ``churn@champion``.
        verify: Check also that each decision is as it was written.
        as_json: Print JSON.
        html: A file to write as a page.

    Returns:
        Whether all links are there, and nothing was changed.

    Raises:
        LookupError: If there is no store yet, or the file cannot be written.
        RegistryError: If there is no such version.
        TrackingError: If MLflow cannot be reached.
    """
    if (ref := parse(version)).is_prompt:
        msg = (
            f"flowml audit follows a model back to its data and code, and {ref} is a prompt: flowml history {ref.model}"
        )
        raise RegistryError(msg)
    connection = connected()
    with explained(connection.uri):
        found = find(connection.client, version)
        chain = chain_of(connection.client, found)
        if verify:
            chain = replace(chain, wrong=tuple(checks.wrong_in(connection.client, chain.model)))
    if html:
        _write(html, page_of(chain))
    if as_json:
        output.data(chain.as_json())
    else:
        _print(chain, is_verified=verify)
        if html:
            output.say(f"The page is {html}.")
    return not chain.missing and not chain.wrong


def _write(html: Path, page: str) -> None:
    try:
        html.write_text(page, encoding="utf-8")
    except OSError as error:
        msg = f"--html cannot be {str(html)!r}: {error.strerror}. Name a file in a folder that is there."
        raise LookupError(msg) from None


def _print(chain: Chain, *, is_verified: bool) -> None:
    aliases = f" ({', '.join(chain.aliases)})" if chain.aliases else ""
    output.say(f"{chain.model} version {chain.version}{aliases}")
    output.rows(
        ("link", "", ""), ((link.name, "missing" if link.missing else "ok", _told(link)) for link in chain.links)
    )
    for line in chain.wrong:
        output.say(f"Changed: {line}.")
    missing = ", ".join(link.name for link in chain.missing)
    output.say(f"Missing: {missing}." if missing else "Complete: every link is there.")
    if is_verified and not chain.wrong:
        output.say("Verified: every decision and its evidence is as it was written.")


def _told(link: Link) -> str:
    shown = [f"{name} {value}" for name, value in _flat(link.facts) if value not in (None, "", {})]
    more = len(shown) - _MOST
    told = ", ".join(shown[:_MOST]) + (f", {more} more" if more > 0 else "")
    return "; ".join(part for part in (link.missing, told) if part)


def _flat(facts: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(facts, dict):
        for key, value in facts.items():
            yield from _flat(value, key)
    elif isinstance(facts, list):
        for value in facts:
            yield from _flat(value, name)
    else:
        yield name, facts
