"""Which names say that a value is a secret."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

_WORDS = frozenset(
    [
        "password",
        "passwords",
        "passwd",
        "pwd",
        "passphrase",
        "passcode",
        "secret",
        "secrets",
        "token",
        "apikey",
        "credential",
        "credentials",
        "creds",
        "dsn",
        "auth",
        "oauth",
        "authorization",
        "bearer",
        "jwt",
        "cookie",
        "cookies",
        "accesskey",
        "privatekey",
        "secretkey",
        "accesstoken",
        "authtoken",
    ]
)
_KEYS = frozenset(
    [
        "api",
        "access",
        "private",
        "secret",
        "signing",
        "encryption",
        "ssh",
        "account",
        "service",
        "master",
        "auth",
        "shared",
        "sas",
        "storage",
        "subscription",
        "rsa",
        "pgp",
        "gpg",
        "hmac",
        "aes",
    ]
)
_ANYWHERE = ("password", "passwd", "apikey", "secretkey")
_NUMBERS = frozenset(
    ["password", "passwd", "pwd", "passphrase", "passcode", "secret", "token", "credential", "apikey", "pin"]
)
_PIN = ["pin"]
# Words that make of "token" a piece of text rather than a key to something.
_COUNTED = frozenset(
    [
        "count",
        "counts",
        "len",
        "length",
        "limit",
        "size",
        "type",
        "types",
        "n",
        "num",
        "number",
        "max",
        "min",
        "mean",
        "avg",
        "total",
        "budget",
        "index",
        "rate",
        "loss",
        "accuracy",
        "embedding",
        "pad",
        "eos",
        "bos",
        "unk",
        "mask",
        "sep",
        "cls",
        "per",
        "vocab",
        "special",
        "prob",
        "classification",
        "classifier",
        "pattern",
        "patterns",
        "regex",
    ]
)
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_LONGEST = 256  # characters of a name; what is longer is a text used as a key


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Tell whether a name says that the value is a secret; whole words count, so ``tokenizer`` does not."""
    words = _words(name)
    if any(part in word for word in words for part in _ANYWHERE):
        return True
    secret = _WORDS.intersection(words)
    if secret == {"token"} and _COUNTED.intersection(words):
        return False
    return bool(secret) or words == _PIN or any(map(_is_pair, pairwise(words)))


@lru_cache(maxsize=4096)
def is_secret_number(name: str) -> bool:
    """Tell whether a number of this name is a secret: it is a password or PIN, and not a measure of one.

    The last word of a name says what it is: ``db_password`` is a password, ``password_length`` and ``auth_rate`` are
    numbers about something.
    """
    words = _words(name)
    if not words or not is_secret_name(name) or _COUNTED.intersection(words):
        return False
    last = words[-1]
    return last in _NUMBERS or last.endswith(_ANYWHERE) or words == _PIN or _is_pair(tuple(words[-2:]))


@lru_cache(maxsize=4096)
def is_secret_parameter(name: str) -> bool:
    """Tell whether a name in the query of an address says so: ``?key=``, ``&sig=`` and ``X-Amz-Signature`` do there."""
    words = _words(name)
    return is_secret_name(name) or words == ["key"] or words[-1:] in (["sig"], ["signature"])


def _words(name: str) -> list[str]:
    return [word.lower() for word in _PART.findall(name)] if len(name) <= _LONGEST else []


def _is_pair(words: tuple[str, ...]) -> bool:
    """Tell whether two words together name a secret, as ``api_key`` does."""
    if len(words) != 2:  # noqa: PLR2004
        return False
    first, last = words
    return (
        (last == "key" and first in _KEYS)
        or (last == "pass" and first in {"db", "user", "smtp", "mail", "ftp"})
        or (first in {"connection", "conn"} and last in {"string", "str"})
    )
