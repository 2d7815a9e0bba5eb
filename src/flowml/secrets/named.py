"""Where the names stand in a text that may be those of secrets, and what stands between each and its value."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flowml.secrets.names import is_secret_name, is_secret_parameter, last_part
from flowml.secrets.words import STEMS

_LONGEST = 100  # characters at the end of a name that are looked at
STEM = re.compile("|".join(sorted(map(re.escape, STEMS))))
"""A text in lower case without one of these holds no secret's name."""

_SIGNS = re.compile(r"[\w.\-]*")
_BETWEEN = re.compile(
    r"""(?P<field>\\{0,8}["'`]?,?\s{1,20}|\\{0,8}["'`],\s?)
        (?:-\s)?\\{0,8}["']?(?i:value)\\{0,8}["']?[ \t]{0,3}[:=][ \t]{0,3}
      | (?P<quoted>\\{0,8}["'`])?\]?[ \t]{0,40}(?P<sign>:=|=>|=(?!=)|:(?!//|:)|%3[Dd])[ \t]{0,40}
      | (?P<pair>\\{0,8}["']),[ ]{0,3}(?=\\{0,8}[bru]?["'])
      | (?P<tag>["']?>)(?=[^\s<>])
      | (?P<invalid>\n[ ]{2}[^\n\[]{0,200}\[type=\w{1,60},[ ]input_value=)
      | (?P<said>[ \t]{1,8}(?:(?:is|was)[ ]|(?:for|of)[ ](?:user[ ])?\S{1,64}:[ ])?)
        (?=\\{0,8}["'`]|[^\s\d]{0,200}\d)""",
    re.VERBOSE,
)
_OPTION = re.compile(r"(?P<argument>[ \t]{1,8})(?=[^\s\-=:,;.)\]}|&])")
_QUALIFIERS = re.compile(r"(?i:\b(api|access|secret|private|client|auth|encryption|account|license)[ \t])\Z")
_QUALIFIED = frozenset({"key", "keys", "secret", "code", "token"})
_TAG_NAME = re.compile(r"(?i:\b(?:name|key|id)=[\"'])\Z")
_LINE_START = re.compile(r"(?:\A|\n)[ \t\-{]{0,40}\Z")


@dataclass(slots=True)
class Named:
    """A secret's name in a text.

    Attributes:
        start: Where it begins.
        name: What decides: its last part, with the word before where that is a part of it.
        is_option: Whether it is one of a command line.
        is_parameter: Whether it is a secret's only in the query of an address.
        kind: How it comes to its value: by a ``sign``, as ``pair``, ``field``, ``argument``, ``tag``, ``invalid`` or
            ``said`` in a sentence.
        between: What stands between the two.
    """

    start: int
    name: str
    is_option: bool
    is_parameter: bool
    kind: str
    between: re.Match[str]

    @property
    def sign(self) -> str:
        """What assigns the value, such as ``=``; empty where nothing does."""
        return self.between["sign"] if self.kind == "sign" else ""


class Names:
    """Finds the names of secrets in a text, each once, so that the time grows with the text and no faster."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lower = text.lower()
        if len(self._lower) != len(text):  # a letter that is two in lower case
            self._lower = "".join(sign.lower() if len(sign.lower()) == 1 else sign for sign in text)
        self._backwards = text[::-1]

    def after(self, position: int) -> Named | None:
        """Find the next name behind a position that says that a value follows which is a secret."""
        text = self._text
        while hit := STEM.search(self._lower, position):
            end = _SIGNS.match(text, hit.start()).end()  # type: ignore[union-attr] # matches always
            before = _SIGNS.match(self._backwards, len(text) - hit.start()).end()  # type: ignore[union-attr]
            start = max(position, len(text) - before)
            is_option = text.startswith("--", start)
            position = end
            between = (is_option and _OPTION.match(text, end)) or _BETWEEN.match(text, end)
            if not between:
                continue
            name = self._name(start, end)
            is_named = is_secret_name(name)
            if not is_named and not (text[max(0, start - 1) : start] in {"?", "&"} and is_secret_parameter(name)):
                continue
            found = Named(start, name, is_option, not is_named, between.lastgroup or "", between)
            if self._may_assign(found):
                return found
        return None

    def _name(self, start: int, end: int) -> str:
        """Return the name that decides: without what an escape or a percent sign before it added."""
        text = self._text
        before = text[max(0, start - 1) : start]
        if before == "\\" and text[start] in "nrt":
            start += 1
        elif before == "%":
            start += 2
        name = text[max(start, end - _LONGEST) : end].rstrip(".-")
        if "." in name:
            name = last_part(name)
        if before in {" ", "\t"} and name.lower() in _QUALIFIED:
            qualifier = _QUALIFIERS.search(text, max(0, start - 12), start)
            return f"{qualifier[1]}_{name}" if qualifier else name
        return name

    def _may_assign(self, found: Named) -> bool:
        """Tell whether what stands between a name and a value says that it is its value."""
        text, start, between = self._text, found.start, found.between
        before = text[max(0, start - 1) : start]
        if found.kind == "sign":
            if between["sign"] != ":" or between["quoted"]:
                return True
            is_spaced = text[between.end() - 1] != ":"
            if found.name == "pass":  # rather one of several
                return not is_spaced or _LINE_START.search(text, max(0, start - 42), start) is not None
            return before != ":" or is_spaced
        if found.kind == "pair":
            return found.is_option or (before in {'"', "'"} and text[start - 2 : start - 1] == "(")
        if found.kind == "tag":
            return before == "<" or _TAG_NAME.search(text, max(0, start - 8), start) is not None
        return True
