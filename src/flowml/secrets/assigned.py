"""Secrets that are known by the name before them: ``password=...``, ``"api_key": "..."``, ``?token=...``."""

from __future__ import annotations

import re

from flowml.secrets.forms import MASK
from flowml.secrets.names import is_secret_name, is_secret_number, is_secret_parameter

STEMS = (
    "pass",
    "pwd",
    "pin",
    "secret",
    "token",
    "key",
    "cred",
    "dsn",
    "auth",
    "bearer",
    "jwt",
    "cookie",
    "conn",
    "sig",
)
"""One of these is in each secret's name, in lower case: a text without them need not be searched."""

_LONGEST = 100  # characters at the end of a name that are looked at
_FARTHEST = 2_000  # characters in brackets
# A name is taken as a whole, by looking ahead: else each of its ends would be tried, from each of its beginnings.
_NAMED = re.compile(
    rf"""(?<![\w.\-])(?=[\w.\-]*?(?i:{"|".join(STEMS)}))(?=(?P<name>[\w.\-]+))(?P=name)
         \\{{0,8}}["']?\s{{0,3}}(?P<sign>:=|=>|=(?!=)|:(?!//|:))\s{{0,3}}""",
    re.VERBOSE,
)
_OPENING = re.compile(r"[bBrRuUfF]{0,2}(?P<escape>\\{0,8})(?P<quote>\"\"\"|'''|\"|')")
_CLOSING = {quote: re.compile(rf"[^{quote}\\]*(?:\\.[^{quote}\\]*)*{quote}", re.DOTALL) for quote in "\"'"}
_IN_BRACKETS = re.compile(r"(?P<open>[\[({])|(?P<close>[\])}])|(?<![A-Za-z0-9_])[bBrRuUfF]?(?P<quote>[\"'])")
_BARE = re.compile(
    r"""(?:(?i:bearer|basic|digest|token|apikey|negotiate)\s{1,3}(?=[\w+/]))?
        [^\s,;&)\]}"'\[({](?:[^\s,;&)\]}"'\[({]|["'\[({)\]}](?=\w))*""",
    re.VERBOSE,
)
_AFTER_TYPE = re.compile(r"(?:\s?\|\s?[\w.\[\]]{1,50}){0,5}\]{0,5}\s{0,3}=(?!=)\s{0,3}")
_NUMBER = re.compile(r"[+-]?\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?%?")
_SHOWN = frozenset({"none", "null", "true", "false", "", "()", "[]", "{}"})


def mask_assigned(text: str) -> str:
    """Take out what is assigned to a secret's name, keeping its quotes."""
    kept: list[str] = []
    done = position = 0
    while found := _NAMED.search(text, position):
        position = found.end()
        name = found["name"].rpartition(".")[2][-_LONGEST:]
        is_named = is_secret_name(name)
        if not (is_named or (text[found.start() - 1 : found.start()] in {"?", "&"} and is_secret_parameter(name))):
            continue
        while True:
            start = position
            begin, end, position = _value(text, start)
            value = text[begin:end].strip()
            is_number = begin == start and _NUMBER.fullmatch(value.rstrip("."))
            is_measure = is_number and is_named and not is_secret_number(name)
            if not is_measure and value.lower() not in _SHOWN and not value.startswith(MASK):
                kept += [text[done:begin], MASK]
                done = end
            typed = _AFTER_TYPE.match(text, position) if found["sign"] == ":" else None
            if typed is None:
                break
            position = typed.end()
    return "".join([*kept, text[done:]])


def _value(text: str, position: int) -> tuple[int, int, int]:
    """Find the value at a position: where it begins and ends, and where to go on."""
    opening = _OPENING.match(text, position)
    if opening:
        return _quoted(text, opening)
    if text[position : position + 1] in {"[", "(", "{"}:
        end = _bracket(text, position)
        return position, end, end
    bare = _BARE.match(text, position)
    end = bare.end() if bare else position
    return position, end, end


def _quoted(text: str, opening: re.Match[str]) -> tuple[int, int, int]:
    begin, quote = opening.end(), opening["quote"]
    if opening["escape"] or len(quote) > 1:
        end = text.find(quote[0] if opening["escape"] else quote, begin)
        if end >= 0:
            inside = len(text[begin:end].rstrip("\\")) if opening["escape"] else end - begin
            return begin, begin + inside, end + len(quote)
    elif closing := _CLOSING[quote].match(text, begin):
        return begin, closing.end() - 1, closing.end()
    line = text.find("\n", begin)
    end = line if line >= 0 else len(text)
    return begin, end, end


def _bracket(text: str, position: int) -> int:
    """Find where a bracket is closed; what is searched in vain is hidden, so that nothing is searched twice."""
    farthest, depth = min(len(text), position + _FARTHEST), 0
    while found := _IN_BRACKETS.search(text, position, farthest):
        position = found.end()
        if found["quote"]:
            closing = _CLOSING[found["quote"]].match(text, position, farthest)
            if closing is None:
                break
            position = closing.end()
            continue
        depth += 1 if found["open"] else -1
        if depth == 0:
            return position
    return farthest
