"""Which names say that a value is a secret."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from flowml.secrets import words as known

_PIN = ["pin"]
_ALONE = (_PIN, ["pass"], ["pw"])
_PART = re.compile(r"[A-Z]+(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+")
_LONGEST = 256  # characters of a name; what is longer is a text used as a key
_ALWAYS = frozenset({("auth", "header"), ("auth", "headers"), ("secret", "id")})


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Tell whether a name says that the value is a secret; whole words count, so ``tokenizer`` does not.

    The last word says what a value is: ``password_file`` and ``token_type`` are no secrets.
    """
    words = _words(name)
    if not words or _is_about(words) or _holds(words, known.NO_SECRETS):
        return False
    if any(part in word for word in words for part in known.ANYWHERE):
        return True
    secret = known.SECRETS.intersection(words)
    if secret == {"token"} and not known.PIECES.isdisjoint(words):
        return False
    return bool(secret) or words in _ALONE or any(map(_is_pair, pairwise(words))) or _holds(words, known.PHRASES)


@lru_cache(maxsize=4096)
def is_secret_number(name: str) -> bool:
    """Tell whether a number of this name is a secret: it is a password or PIN, and not a measure of one.

    The last word of a name says what it is: ``db_password`` is a password, ``password_length`` and ``auth_rate`` are
    numbers about something.
    """
    words = _words(name)
    if not is_secret_name(name) or not known.PIECES.isdisjoint(words):
        return False
    last = words[-1]
    is_named = last in known.NUMBERS or last.endswith(known.ANYWHERE) or words == _PIN
    return is_named or _is_pair(tuple(words[-2:]))


@lru_cache(maxsize=4096)
def is_secret_parameter(name: str) -> bool:
    """Tell whether a name in the query of an address says so: ``?key=``, ``&sig=`` and ``X-Amz-Signature`` do there."""
    words = _words(name)
    return is_secret_name(name) or words == ["key"] or words[-1:] in (["sig"], ["signature"])


@lru_cache(maxsize=4096)
def is_secret_path(name: str) -> bool:
    """Tell whether a name of parts with dots is one of a secret: any part is, or it ends like ``s3a.secret.key``."""
    return any(map(is_secret_name, name.split("."))) or is_secret_name(last_part(name))


def last_part(name: str) -> str:
    """Return what stands behind the last dot of a name, with the part before where that is only "key"."""
    before, _, last = name.rpartition(".")
    return f"{before.rpartition('.')[2]}_{last}" if before and last.lower() in {"key", "sid"} else last


def _words(name: str) -> list[str]:
    return [word.lower() for word in _PART.findall(name)] if len(name) <= _LONGEST else []


def _is_about(words: list[str]) -> bool:
    """Tell whether the last word makes of the value something else than a secret."""
    if words[-1] not in known.ABOUT:
        return False
    if words[-1] == "id" and "access" in words:
        return False
    return tuple(words[-2:]) not in _ALWAYS


def _is_pair(words: tuple[str, ...]) -> bool:
    """Tell whether two words together name a secret, as ``api_key`` does."""
    if len(words) != 2:  # noqa: PLR2004
        return False
    first, last = words
    return (
        (last == "key" and first in known.KEYS)
        or (last in {"pass", "pw"} and first in known.PASSES)
        or (last in {"code", "codes"} and first in known.CODES)
        or (first in {"connection", "conn"} and last in {"string", "str"})
        or words == ("key", "data")
    )


def _holds(words: list[str], phrases: tuple[str, ...]) -> bool:
    """Tell whether one of some phrases is among the words."""
    text = f" {' '.join(words)} "
    return any(f" {phrase} " in text for phrase in phrases)
