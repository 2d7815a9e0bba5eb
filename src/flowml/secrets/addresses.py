"""Passwords and tokens in addresses: what stands before the host, whatever characters it is made of."""

from __future__ import annotations

import re
import string

from flowml.secrets.forms import MASK

_BEFORE_SCHEMES = f"{string.ascii_letters}{string.digits}+.-:"  # as in jdbc:mysql://
_LONGEST_SCHEME = 40
_LONGEST = 10_000  # characters of a password
_LONGEST_SPACED = 200  # of one with spaces
_LONG_USER = 20  # characters of what stands alone before the host, and is rather a token
_TAKE_TOKENS = frozenset({"http", "https", "ws", "wss"})
# An "@" in a path is common in these; in all others it is rather one of a password.
_WEB = _TAKE_TOKENS | {"ftp", "s3", "gs", "abfs", "abfss", "wasb", "wasbs", "docker", "oci"}

_HEAD = re.compile(
    rf"(?:(?<![A-Za-z0-9])(?P<scheme>[A-Za-z0-9]{{1,{_LONGEST_SCHEME}}}))?"
    r"://(?P<user>[^\s/?#:'\"\[\]<>{}]*):?"
)
_AT = re.compile("@")
_SIMPLE = re.compile(r"[^\s@'\"`,;|/?#]+(?=@[^\s@'\"`,;|]*(?:[\s'\"`,;|]|\Z))")
_PORT = re.compile(r"\d{0,5}(?:(?P<path>[/?#])|[\s\"'`]|\Z)")
_HOST = re.compile(r"(?P<name>[\w.\-]{0,255})(?P<port>:\d{2,5}(?!\w))?")
# Another server of the same address: h1:6379,ada:...@h2:6379
_MORE = re.compile(r"@[\w.\-:]{1,255},[\w.%\-]{0,64}:(?P<secret>[^\s@,;/'\"]{1,255})(?=@)")
_PATH = re.compile(r"[/?#]")
_QUERY = re.compile(r"\?[\w.\-]+=")
_SPACE = re.compile(r"\s")
_ANOTHER = re.compile(rf"[,;|]\s?[A-Za-z][A-Za-z0-9+.\-]{{0,{_LONGEST_SCHEME}}}://")
_LINE = re.compile("\n")
_QUOTE = re.compile("[\"'`\n]")
_CLOSING = {quote: re.compile(rf"(?<!\\){quote}(?!\w)|\n") for quote in "\"'`"}
_CLOSING_ESCAPED = {quote: re.compile(rf"\\*{quote}|\n") for quote in "\"'`"}


def mask_addresses(text: str) -> str:
    """Take out the password of each address, and a token that stands in the place of a user.

    A password may be of any characters, also of those that should be escaped there, such as ``/``, ``@`` and ``?``.
    What may belong to it is hidden.
    """
    return _Addresses(text).masked() if "://" in text and "@" in text else text


class _Addresses:
    """One pass over a text. What comes next is looked for once, so that the time grows with the text and no faster."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._next: dict[re.Pattern[str], int] = {}

    def masked(self) -> str:
        """Return the text without them."""
        text, done, position = self.text, 0, 0
        kept: list[str] = []
        while head := _HEAD.search(text, position):
            position, at = head.end(), self._after(_AT, head.start("user"))
            if at == len(text):
                break
            if at > position + _LONGEST:
                continue
            simple = _SIMPLE.match(text, position) if text[position - 1] == ":" else None
            if span := simple.span() if simple else self._secret(head):
                kept += [text[done : span[0]], MASK]
                done = position = span[1]
                while more := _MORE.match(text, position):
                    kept += [text[done : more.start("secret")], MASK]
                    done = position = more.end()
        return "".join([*kept, text[done:]])

    def _after(self, pattern: re.Pattern[str], position: int) -> int:
        """Find where something is next, or the end; asked for positions that only grow, it searches no part twice."""
        known = self._next.get(pattern, -1)
        if known < position:
            found = pattern.search(self.text, position)
            known = self._next[pattern] = found.start() if found else len(self.text)
        return known

    def _secret(self, head: re.Match[str]) -> tuple[int, int] | None:
        """Find the secret of an address: between which positions it stands."""
        (user, colon), begin, scheme = head.span("user"), head.end(), (head["scheme"] or "").lower()
        at = self._after(_AT, user)
        token = (user, at) if scheme in _TAKE_TOKENS and user + _LONG_USER <= at <= colon else None
        if begin == colon or (at := self._after(_AT, begin)) == len(self.text):
            return token
        port = _PORT.match(self.text, begin)
        if port and not (port["path"] and self._hides_more(head, at)):
            return token
        end = self._end(head, spaces=port is None)
        if at >= end:
            return token
        return begin, self._before_host(begin, end) if scheme in _WEB else self._last(begin, end)

    def _hides_more(self, head: re.Match[str], at: int) -> bool:
        """Tell whether what looks like a port and a path is rather a password with a slash."""
        if (head["scheme"] or "").lower() in _WEB:
            return not self._is_host(*head.span("user")) and self._is_host(at + 1, len(self.text))
        return at < self._after(_QUERY, head.end())

    def _end(self, head: re.Match[str], *, spaces: bool) -> int:
        """Find where an address ends: at its closing quote or at a space, unless the "@" is only behind it."""
        text, begin, scheme = self.text, head.end(), (head["scheme"] or "").lower()
        at, space, another = (self._after(pattern, begin) for pattern in (_AT, _SPACE, _ANOTHER))
        before = text[max(0, head.start() - _LONGEST_SCHEME) : head.start()].rstrip(_BEFORE_SCHEMES)
        if before[-1:] in _CLOSING:
            closings = _CLOSING_ESCAPED if before[-2:-1] == "\\" else _CLOSING
            closing = self._after(closings[before[-1]], begin)
        else:
            closing = self._after(_QUOTE if at < self._after(_QUOTE, begin) else _LINE, begin)
        is_spaced = spaces and at >= space and (scheme in _TAKE_TOKENS or scheme not in _WEB)
        return min(closing, another, begin + _LONGEST_SPACED if is_spaced else space)

    def _last(self, begin: int, end: int) -> int:
        """Find the last "@", before a query if there is one there."""
        query = self._after(_QUERY, begin)
        return self.text.rfind("@", begin, min(end, query) if self._after(_AT, begin) < query else end)

    def _before_host(self, begin: int, end: int) -> int:
        """Find the "@" after which a host follows, for others may follow in the path."""
        at = self._after(_AT, begin)
        while True:
            at = self.text.rfind("@", at, min(self._after(_PATH, at), end))
            another = self.text.find("@", at + 1, end)
            if another < 0 or self._is_host(at + 1, end):
                return at
            at = another

    def _is_host(self, position: int, end: int) -> bool:
        """Tell whether what stands there looks like a host: with a dot or a port."""
        found = _HOST.match(self.text, position, end)
        if found is None or self.text[position : position + 1] == "[":
            return found is not None
        name = found["name"]
        return "." in name.strip(".") or name == "localhost" or bool(found["port"])
