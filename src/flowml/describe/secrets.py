"""What must never be shown: secrets known by their name, or by what they look like."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

MASK = "********"

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
    ]
)
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Tell whether a name says that the value is a secret; whole words count, so ``tokenizer`` does not."""
    if len(name) > 256:  # noqa: PLR2004 - no name, but a text used as a key
        return False
    words = [word.lower() for word in _PART.findall(name)]
    if any(part in word for word in words for part in _ANYWHERE):
        return True
    secret = _WORDS.intersection(words)
    if secret == {"token"} and _COUNTED.intersection(words):
        return False
    return bool(secret) or any(
        (last == "key" and first in _KEYS)
        or (last == "pass" and first in {"db", "user", "smtp", "mail", "ftp"})
        or (first in {"connection", "conn"} and last in {"string", "str"})
        for first, last in pairwise(words)
    )


_URL = re.compile(r"(?P<head>\b[a-zA-Z][a-zA-Z0-9+.\-]*://[^\s/?#:@'\"]*:)(?P<secret>[^\s/?#]+)(?=@)")
_KNOWN = re.compile(
    r"""\b(?:
        sk-[A-Za-z0-9_\-]{16,} | [sr]k_(?:live|test)_[A-Za-z0-9]{10,}
      | gh[pousr]_[A-Za-z0-9]{16,} | github_pat_[A-Za-z0-9_]{16,} | glpat-[A-Za-z0-9_\-]{16,}
      | (?:AKIA|ASIA)[A-Z0-9]{16} | AIza[A-Za-z0-9_\-]{30,} | xox[abeprs]-[A-Za-z0-9\-]{8,}
      | hf_[A-Za-z0-9]{20,} | pypi-[A-Za-z0-9_\-]{30,} | npm_[A-Za-z0-9]{30,} | pn[ub]_[A-Za-z0-9]{20,}
      | eyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]*
    )""",
    re.VERBOSE,
)
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_PEM_END = re.compile(r"\A.*-----END [A-Z0-9 ]*PRIVATE KEY-----", re.DOTALL)
_BEARER = re.compile(r"\b(?P<head>(?:Bearer|Basic)\s+)(?P<secret>[A-Za-z0-9+/=_.~\-]{8,})", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"""(?<![\w.\-])(?P<name>[A-Za-z_][\w.\-]{0,100})
        (?P<sign>\\?["']?\s{0,3}(?::(?!/)|=(?!=))\s{0,3})
        (?P<secret>b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'|\\"[^"]*?\\"
          |b?["'][^"'\n]*|[\[({][^\])}\n]{0,2000}[\])}]?|[^\s,;&)\]}"'\[({]+)""",
    re.VERBOSE | re.DOTALL,
)
# Cheap to look for, so that the patterns run only on text that can hold a secret.
_SIGNS = re.compile("sk[-_]|rk_|gh._|github_|glpat-|A[KS]IA|AIza|xox|hf_|pypi-|npm_|pn._|eyJ|PRIVATE KEY|://")
_NAMES = ("pass", "pwd", "secret", "token", "key", "cred", "dsn", "auth", "bearer", "jwt", "cookie", "conn", "basic ")
_SHOWN = frozenset({"none", "null", "true", "false", "", MASK})


def mask(text: str) -> str:
    """Take the secrets out of free text: a message, a traceback, an address.

    The password of a URL, the value in ``password=...`` or ``"api_key": "..."``, keys of well-known forms and private
    keys become ``********``; all else stays.

    Args:
        text: Any text.

    Returns:
        The text without secrets.

    Example:
        >>> mask("postgresql://ada:lovelace@db/churn")
        'postgresql://ada:********@db/churn'
    """
    if len(text) < 5:  # noqa: PLR2004 - too short to hold one
        return text
    text = mask_known(text)
    if "=" in text or ":" in text or " " in text:
        lower = text.lower()
        if any(name in lower for name in _NAMES):
            text = _BEARER.sub(rf"\g<head>{MASK}", text)
            text = _ASSIGNED.sub(_assigned, text)
    return text


def mask_known(text: str) -> str:
    """Take out only what is a secret by its own form: for HTML and the like, where ``name: value`` may be code."""
    if _SIGNS.search(text) is None:
        return text
    text = _KNOWN.sub(MASK, text)
    if "@" in text:
        text = _URL.sub(rf"\g<head>{MASK}", text)
    if "PRIVATE KEY-----" in text:
        text = _PEM_END.sub(MASK, _PEM.sub(MASK, text))
    return text


def _assigned(found: re.Match[str]) -> str:
    """Hide what is assigned to a secret's name, keeping its quotes."""
    value = found["secret"]
    bare = value.strip("b\\\"'") if value[:1] in "b\\\"'" else value
    if bare.lower() in _SHOWN or not is_secret_name(found["name"].rsplit(".", maxsplit=1)[-1]):
        return found[0]
    opening = re.match(r"b?\\?[\"']", value)
    quotes = opening[0].lstrip("b") if opening else ""
    return f"{found['name']}{found['sign']}{quotes}{MASK}{quotes}"


def is_secret(text: str) -> bool:
    """Tell whether a text is a secret as a whole."""
    return mask(text) == MASK
