"""Where the value begins and ends that is assigned to a name: in quotes, in brackets, bare, in lines of its own."""

from __future__ import annotations

import re
from functools import lru_cache

_FARTHEST = 2_000  # characters in brackets
_FIRST = frozenset("bBrRuUfF\"'`\\")  # of a quoted value
_OPENING = re.compile(r"[bBrRuUfF]{0,2}(?P<escape>\\{0,8})(?P<quote>\"\"\"|'''|\"|'|`)")
_CLOSING = {quote: re.compile(rf"[^{quote}\\]*(?:\\.[^{quote}\\]*)*{quote}", re.DOTALL) for quote in "\"'`"}
_IN_BRACKETS = re.compile(r"(?P<open>[\[({])|(?P<close>[\])}])|(?<![A-Za-z0-9_])[bBrRuUfF]?(?P<quote>[\"'])")
# A value ends at a sign that ends values; a written line's end is one where another assignment follows.
_BARE = re.compile(
    r"""(?:(?i:bearer|basic|token|apikey|negotiate)[ \t]{1,3}(?=[\w+/]))?
        (?!\\+[nrt])[^\s,;&)\]}"'\[({]
        (?:\\(?!\\{0,7}[nrt][\w.\-#\[ ]{0,60}(?:[=:\]]|\\))|[^\s,;&)\]}"'\[({\\]|["'\[({)\]}](?=\w))*""",
    re.VERBOSE,
)
_CALLED = re.compile(r"[A-Za-z_][\w.]{0,100}")
_HEADER = re.compile(r"(?i:digest|aws4-hmac-sha256|hawk|oauth|signature)\s[^\n\"']{0,20}(?:\"[^\"\n]*\"|[^\"'\n])*")
_COOKIES = re.compile(r"[\w.\-]{1,100}=[^\s;\"']*(?:;[ ]?[\w.\-]{1,100}=[^\s;\"']*)*")
_BLOCK = re.compile(r"[|>][+\-]?\n(?P<indent>[ \t]{1,40})[^\n]*")
_ENCODED = re.compile(r"[^\s&;\"'%]*(?:%(?!3[Bb]|26|7[Dd])[^\s&;\"'%]*)*")
_TAGGED = re.compile(r"[^\s<>]{1,1000}(?=<)")


def find_value(text: str, position: int, sign: str = "=") -> tuple[int, int, int]:
    """Find the value at a position: where it begins and ends, and where to go on.

    Args:
        text: The whole text.
        position: Where it is to begin.
        sign: What stands before it.
    """
    if sign != ">" and not sign.startswith("%"):
        first = text[position : position + 1]
        if first in _FIRST and (opening := _OPENING.match(text, position)):
            return _quoted(text, opening)
        if first in {"|", ">"} and (block := _BLOCK.match(text, position)):
            return _indented(text, block)
    end = _bare(text, position, sign)
    return position, end, end


def _bare(text: str, position: int, sign: str) -> int:
    if sign == ">" or sign.startswith("%"):
        found = (_TAGGED if sign == ">" else _ENCODED).match(text, position)
        return found.end() if found else position
    if text[position : position + 1] in {"[", "(", "{"}:
        return _bracket(text, position)
    if sign == ":" and (line := _HEADER.match(text, position) or _COOKIES.match(text, position)):
        return line.end()
    bare = _BARE.match(text, position)
    end = bare.end() if bare else position
    if bare and text[end : end + 1] in {"(", "["} and _CALLED.fullmatch(bare[0]):
        return _bracket(text, end)  # HTTPBasicAuth("ada", "...")
    return end


def _quoted(text: str, opening: re.Match[str]) -> tuple[int, int, int]:
    begin, quote, escape = opening.end(), opening["quote"], opening["escape"]
    if escape:
        if closing := _escaped(quote[0], len(escape)).search(text, begin):
            return begin, closing.start(), closing.end()
    elif len(quote) > 1:
        end = text.find(quote, begin)
        if end >= 0:
            return begin, end, end + len(quote)
    elif closing := _CLOSING[quote].match(text, begin):
        end = closing.end() - 1
        while text.startswith("''", end) and quote == "'" and (more := _CLOSING[quote].match(text, end + 2)):
            end = more.end() - 1  # a quote that is doubled stands for itself
        return begin, end, end + 1
    line = text.find("\n", begin)
    end = line if line >= 0 else len(text)
    return begin, end, end


@lru_cache(maxsize=32)
def _escaped(quote: str, depth: int) -> re.Pattern[str]:
    """Find the end of what was opened by a quote with as many backslashes."""
    return re.compile(rf"(?<!\\)\\{{{depth}}}{quote}")


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


def _indented(text: str, block: re.Match[str]) -> tuple[int, int, int]:
    """Find the end of a block of YAML: of the lines that are indented as its first one."""
    begin, end, indent = block.end("indent"), block.end(), block["indent"]
    while text.startswith(f"\n{indent}", end):
        line = text.find("\n", end + 1)
        end = line if line >= 0 else len(text)
    return begin, end, end
