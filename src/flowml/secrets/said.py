"""Whether a word behind a secret's name is one, with no sign between them: in a command, in a sentence."""

from __future__ import annotations

import re

_SPOKEN = frozenset({"password", "passwd", "pwd", "passphrase", "passcode", "secret", "key", "kennwort", "passwort"})
_VERSION = re.compile(r"[vV]?\d[\d.\-:/]*|HTTP/[\d.]+")
_LIKE_WORDS = re.compile(r"[A-Za-z]+-?\d\d?|[A-Z]+-?\d+|\w{0,20}[./]\w{0,20}")
_NO_VALUES = frozenset(
    {"is", "to", "or", "and", "for", "the", "in", "on", "with", "was", "must", "not", "from", "if", "|"}
)
_SHORTEST = 6  # characters of a secret in a sentence
_SHORTEST_DIGITS = 4


def is_argument(value: str, name: str) -> bool:
    """Tell whether a word is what an option of a command line was given, and not how its help calls that."""
    is_metavariable = value.isupper() and value.lower() in name.lower().replace("-", "_")
    return not value.startswith("-") and value.lower() not in _NO_VALUES and not is_metavariable


def is_told(value: str, name: str, *, is_quoted: bool, has_verb: bool) -> bool:
    """Tell whether a sentence tells a secret, as in "password is hunter2": words are none.

    Args:
        value: What stands behind the name.
        name: The name.
        is_quoted: Whether the value stands in quotes.
        has_verb: Whether there is more than a space between them.
    """
    is_spoken = re.split(r"[_\-]", name.lower())[-1] in _SPOKEN
    if is_quoted:
        return is_spoken and len(value) >= _SHORTEST_DIGITS and " " not in value
    value = value.rstrip(".!?:\\")
    if value.isdigit():
        return is_spoken and has_verb and len(value) >= _SHORTEST_DIGITS
    if len(value) < _SHORTEST or value.isalpha() or _VERSION.fullmatch(value):
        return False
    is_mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return is_mixed and (is_spoken or _LIKE_WORDS.fullmatch(value) is None)
