"""Secrets that are known by the name before them: ``password=...``, ``"api_key": "..."``, ``--token ...``."""

from __future__ import annotations

import re

from flowml.secrets.forms import MASK
from flowml.secrets.names import is_secret_name, is_secret_number, is_secret_parameter, last_part
from flowml.secrets.references import are_numbers, code_end, is_reference
from flowml.secrets.values import find_value

STEMS = (
    "pass",
    "pwd",
    "pw",
    "pin",
    "otp",
    "cv",
    "mdp",
    "secret",
    "token",
    "key",
    "code",
    "cred",
    "dsn",
    "auth",
    "bearer",
    "jwt",
    "cookie",
    "sess",
    "connect.sid",
    "csrf",
    "xsrf",
    "conn",
    "sig",
    "wort",
    "senha",
    "contrase",
    "wachtwoord",
    "пароль",
    "密",
    "パスワード",
    "비밀",
    "has",
    "heslo",
    "senord",
    "ifre",
    "parola",
    "geheim",
    "clave",
)
"""One of these is in each secret's name, in lower case: a text without them need not be searched."""

_LONGEST = 100  # characters at the end of a name that are looked at
# A name is taken as a whole, by looking ahead: else each of its ends would be tried, from each of its beginnings.
_NAMED = re.compile(
    rf"""(?<![\w.\-])(?=[\w.\-]*?(?i:{"|".join(map(re.escape, STEMS))}))(?=(?P<name>[\w.\-]+))(?P=name)
    (?:
        (?P<field>\\{{0,8}}["'`]?,?\s{{1,20}}|\\{{0,8}}["'`],\s?)
        (?:-\s)?\\{{0,8}}["']?(?i:value)\\{{0,8}}["']?[ \t]{{0,3}}[:=][ \t]{{0,3}}
      | (?P<quoted>\\{{0,8}}["'`])?\]?[ \t]{{0,40}}(?P<sign>:=|=>|=(?!=)|:(?!//|:)|%3[Dd])[ \t]{{0,40}}
      | (?P<pair>\\{{0,8}}["']),[ ]{{0,3}}(?=\\{{0,8}}[bru]?["'])
      | (?P<tag>["']?>)(?=[^\s<>])
      | (?P<invalid>\n[ ]{{2}}[^\n\[]{{0,200}}\[type=\w{{1,60}},[ ]input_value=)
      | (?P<said>[ \t]{{1,8}}(?:(?:is|was)[ ]|(?:for|of)[ ](?:user[ ])?\S{{1,64}}:[ ])?)(?=[^\s=:,;.)\]}}|&])
    )""",
    re.VERBOSE,
)
_AFTER_TYPE = re.compile(r"(?:\s?\|\s?[\w.\[\]]{1,50}){0,5}\]{0,5}\s{0,3}=(?!=)\s{0,3}")
_NUMBER = re.compile(r"[+-]?\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?%?")
_QUALIFIERS = re.compile(r"(?i:\b(api|access|secret|private|client|auth|encryption|account|license)[ \t])\Z")
_TAG_NAME = re.compile(r"(?i:\b(?:name|key|id)=[\"'])\Z")
_LINE_START = re.compile(r"(?:\A|\n)[ \t\-{]{0,40}\Z")
_SPOKEN = frozenset({"password", "passwd", "pwd", "passphrase", "passcode", "secret", "key", "kennwort", "passwort"})
_VERSION = re.compile(r"[vV]?\d[\d.\-:/]*|HTTP/[\d.]+")
_LIKE_WORDS = re.compile(r"[A-Za-z]+-?\d\d?|[A-Z]+-?\d+|\w{0,20}[./]\w{0,20}")
_NO_VALUES = frozenset(
    {"is", "to", "or", "and", "for", "the", "in", "on", "with", "was", "must", "not", "from", "if", "|"}
)
_SHORTEST_SAID = 6  # characters of a secret in a sentence
_SHORTEST_DIGITS = 4


def mask_assigned(text: str) -> str:
    """Take out what is assigned to a secret's name, keeping its quotes."""
    kept: list[str] = []
    done = position = 0
    while found := _NAMED.search(text, position):
        position = found.end()
        name = _name(text, found)
        is_named = is_secret_name(name)
        in_query = text[found.start() - 1 : found.start()] in {"?", "&"}
        if not (is_named or (in_query and is_secret_parameter(name))) or not _may_assign(text, found, name):
            position = found.end("name") if found["sign"] is None else position
            continue
        while True:
            start = position
            begin, end, position, is_shown = _looked_at(text, start, found, name)
            value = text[begin:end].strip()
            is_number = begin == start and (_NUMBER.fullmatch(value.rstrip(".")) or are_numbers(value))
            is_measure = is_number and is_named and not is_secret_number(name)
            if not (is_shown or is_measure or value.startswith(MASK)):
                kept += [text[done:begin], MASK]
                done = end
            typed = _AFTER_TYPE.match(text, position) if found["sign"] == ":" else None
            if typed is None:
                break
            position = typed.end()
    return "".join([*kept, text[done:]])


def _name(text: str, found: re.Match[str]) -> str:
    """Return the name that decides: without what an escape or a percent sign before it added."""
    start, name = found.start(), found["name"]
    before = text[max(0, start - 1) : start]
    if before == "\\" and name[0] in "nrt":
        name = name[1:]
    elif before == "%":
        name = name[2:]
    name = last_part(name[-_LONGEST:].rstrip(".-"))
    if name.lower() in {"key", "keys", "secret", "code", "token"} and (
        qualifier := _QUALIFIERS.search(text, max(0, start - 12), start)
    ):
        return f"{qualifier[1]}_{name}"
    return name


def _may_assign(text: str, found: re.Match[str], name: str) -> bool:
    """Tell whether what stands between a name and a value says that it is its value."""
    start = found.start()
    before = text[max(0, start - 1) : start]
    if found["sign"]:
        if found["sign"] != ":" or found["quoted"]:
            return True
        spaced = text[found.end() - 1] != ":"
        if name == "pass":
            return not spaced or _LINE_START.search(text, max(0, start - 42), start) is not None
        return before != ":" or spaced
    if found["pair"]:
        return found["name"].startswith("--") or (before in {'"', "'"} and text[start - 2 : start - 1] == "(")
    if found["tag"]:
        return before == "<" or _TAG_NAME.search(text, max(0, start - 8), start) is not None
    return True


def _looked_at(text: str, start: int, found: re.Match[str], name: str) -> tuple[int, int, int, bool]:
    """Find a value, where to go on, and whether it is to be shown."""
    sign = ">" if found["tag"] else found["sign"] or "="
    if found["sign"] and (code := code_end(text, start, name, typed=sign == ":")) > start:
        return start, code, code, True
    begin, end, position = find_value(text, start, sign)
    value = text[begin:end].strip()
    shown = is_reference(value)
    if found["pair"]:
        is_last = text[position : position + 1] == ")"
        shown = shown or is_secret_name(value) or not (is_last or found["name"].startswith("--"))
    elif found["tag"]:
        shown = shown or value.lower() in name.lower()
    elif found["said"]:
        shown = shown or not _is_said(found, name, value, is_quoted=begin > start)
        position = start if shown else position
    return begin, end, position, shown


def _is_said(found: re.Match[str], name: str, value: str, *, is_quoted: bool) -> bool:
    """Tell whether a secret's name and a value with no sign between them are one: in a command, in a sentence."""
    if found["name"].startswith("--"):
        return not value.startswith("-") and value.lower() not in _NO_VALUES and not _is_metavariable(value, name)
    last = re.split(r"[_\-]", name.lower())[-1]
    if is_quoted:
        return last in _SPOKEN and len(value) >= _SHORTEST_DIGITS and " " not in value
    value = value.rstrip(".!?:\\")
    if value.isdigit():
        return last in _SPOKEN and len(found["said"].strip()) > 0 and len(value) >= _SHORTEST_DIGITS
    if len(value) < _SHORTEST_SAID or value.isalpha() or _VERSION.fullmatch(value):
        return False
    is_mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return is_mixed and (last in _SPOKEN or _LIKE_WORDS.fullmatch(value) is None)


def _is_metavariable(value: str, name: str) -> bool:
    """Tell whether a value is only how a command's help calls it: ``--api-key API_KEY``."""
    return value.isupper() and value.lower() in name.lower().replace("-", "_")
