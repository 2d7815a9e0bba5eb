"""Secrets as they look in real texts, and what only looks like them: ``corpus/`` holds both, made up."""

from __future__ import annotations

import ast
import json
import random
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowml import describe, records

CORPUS = Path(__file__).parent / "corpus"
SIGNS = {
    "upper": string.ascii_uppercase + "234567",
    "lower": string.ascii_lowercase + string.digits,
    "hex": "0123456789abcdef",
    "digit": string.digits,
    "alnum": string.ascii_letters + string.digits,
    "base64": string.ascii_letters + string.digits + "+/",
    "url": string.ascii_letters + string.digits + "_-",
}
RANDOM = re.compile(r"‹(\w+) (\d+)›")  # noqa: RUF001 - signs that no secret has
SECRET = re.compile("«(.*?)»", re.DOTALL)
WINDOW = 6  # characters of a secret that would be one too many


@dataclass
class Entry:
    """One line of the corpus.

    Attributes:
        line: As it stands in the file.
        text: What it becomes.
        name: The name that a value is given under; empty where the text stands alone.
        value: That value.
        parts: What must not be seen of it.
    """

    line: str
    text: str
    name: str
    value: Any
    parts: set[str]


def entries(path: Path) -> list[Entry]:
    """Read a file of the corpus; the random characters are the same each time."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("# ")]
    return [entry(line, random.Random(index)) for index, line in enumerate(lines)]


def entry(line: str, signs: random.Random) -> Entry:
    """Read one line."""

    def characters(found: re.Match[str]) -> str:
        kind, length = found[1], int(found[2])
        return "".join(signs.choices(SIGNS[kind], k=length))

    marked = RANDOM.sub(characters, line).replace("⏎", "\n")
    public = SECRET.sub("\0", marked)
    text = marked.replace("«", "").replace("»", "")
    parts = {
        secret[start : start + WINDOW]
        for secret in SECRET.findall(marked)
        for start in range(max(1, len(secret) - WINDOW + 1))
    }
    parts = {part for part in parts if part not in public}
    if not line.startswith("@"):
        return Entry(line, text, "", None, parts)
    name, _, value = text[1:].partition(" = ")
    return Entry(line, text, name, ast.literal_eval(value), {part for part in parts if "\\" not in part})


def ways(given: Entry) -> Iterator[tuple[str, str]]:
    """Yield what is shown of an entry, by each way that it may go in."""
    if given.name:
        for way, value in (
            ("argument", {given.name: given.value}),
            ("key", {"config": {given.name: given.value}}),
            ("deep", {"config": {"a": [{given.name: given.value}]}}),
        ):
            yield way, shown(describe.inputs(value, {}))
        yield "returned", shown(describe.outputs({given.name: given.value}, "t"))
        yield "logged", shown(describe.named({given.name: given.value}))
        yield "repr", describe.mask(repr({given.name: given.value}))
        yield "assigned", describe.mask(f"f({given.name}={given.value!r})")
        if not isinstance(given.value, bytes):
            yield "json", describe.mask(json.dumps({given.name: given.value}, ensure_ascii=False))
        if isinstance(given.value, str) and " " not in given.value:
            yield "env", describe.mask(f"{given.name}={given.value}")
    else:
        yield "text", describe.mask(given.text)
        yield "argument", shown(describe.inputs({"x": given.text}, {}))
        yield "item", shown(describe.inputs({"x": [1, {"y": given.text}]}, {}))
        yield "returned", shown(describe.outputs(given.text, "t"))
        yield "error", describe.error_text(ValueError(given.text))
        yield "among others", describe.mask(f"first line\n{given.text}\nlast line")


def shown(found: list[records.Record]) -> str:
    """Return all that can be read in records."""
    return repr(found).replace("\\\\", "\\")


def missed(given: Entry) -> list[str]:
    """Name the ways by which a part of a secret is seen."""
    return [way for way, text in ways(given) if any(part in text for part in given.parts)]


def alarms(given: Entry) -> list[str]:
    """Name the ways by which something is masked."""
    if describe.MASK in given.text:
        return [] if describe.mask(given.text) == given.text else ["text"]
    left_out = given.name and given.value not in (None, "") and not describe.named({given.name: given.value})
    return [way for way, text in ways(given) if describe.MASK in text] + (["left out"] if left_out else [])


SECRETS, INNOCENT = entries(CORPUS / "secrets.txt"), entries(CORPUS / "innocent.txt")


def test_the_corpus_is_large() -> None:
    """Hundreds of each, and none twice."""
    assert len({given.line for given in SECRETS}) == len(SECRETS) >= 300
    assert all(given.parts for given in SECRETS)
    assert len({given.line for given in INNOCENT}) == len(INNOCENT) >= 500


def test_no_secret_is_seen() -> None:
    """Of none a part of six characters comes out: in texts, as arguments, keys, returned, logged, in errors."""
    assert not {given.line: by for given in SECRETS if (by := missed(given))}


def test_hardly_anything_else_is_masked() -> None:
    """Less than one in a hundred."""
    masked = {given.line: by for given in INNOCENT if (by := alarms(given))}
    assert len(masked) < len(INNOCENT) / 100, masked


def test_masked_again_nothing_changes() -> None:
    """Texts pass through more than one hand."""
    once = [describe.mask(given.text) for given in [*SECRETS, *INNOCENT]]
    assert [describe.mask(text) for text in once] == once
