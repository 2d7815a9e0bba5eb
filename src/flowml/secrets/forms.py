"""Secrets that are known by their own form: keys of well-known services, private keys, bearer tokens."""

from __future__ import annotations

import re
from itertools import pairwise

MASK = "********"

_KNOWN = re.compile(
    r"""\b(?:
        sk-[A-Za-z0-9_\-]{16,} | [sr]k_(?:live|test)_[A-Za-z0-9]{10,}
      | gh[pousr]_[A-Za-z0-9]{16,} | github_pat_[A-Za-z0-9_]{16,} | glpat-[A-Za-z0-9_\-]{16,}
      | (?:AKIA|ASIA)[A-Z0-9]{16} | AIza[A-Za-z0-9_\-]{30,} | xox[abeprs]-[A-Za-z0-9\-]{8,}
      | hf_[A-Za-z0-9]{20,} | pypi-[A-Za-z0-9_\-]{30,} | npm_[A-Za-z0-9]{30,} | pn[ub]_[A-Za-z0-9]{20,}
    )""",
    re.VERBOSE,
)
_DOTTED = re.compile(
    r"\beyJ[A-Za-z0-9_.\-]+"
)  # all of it at once: a pattern with its dots would be tried over and over
_HEAD = re.compile(r"\beyJ[A-Za-z0-9_\-]{5,}")
_PEM = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_BEARER = re.compile(r"\b(?P<head>(?:Bearer|Basic)\s+)(?P<secret>[A-Za-z0-9+/=_.~\-]{8,})", re.IGNORECASE)
# Cheap to look for, so that the patterns run only on text that can hold a secret.
_SIGNS = re.compile("sk[-_]|rk_|gh._|github_|glpat-|A[KS]IA|AIza|xox|hf_|pypi-|npm_|pn._|eyJ|PRIVATE KEY")
_SHORTEST = 5  # characters of a part of a JSON web token


def mask_forms(text: str) -> str:
    """Take out keys of well-known forms, JSON web tokens and private keys."""
    if _SIGNS.search(text) is None:
        return text
    text = _KNOWN.sub(MASK, text)
    if "eyJ" in text:
        text = _DOTTED.sub(_web_token, text)
    return _without_private_keys(text) if "PRIVATE KEY" in text else text


def mask_bearers(text: str) -> str:
    """Take out what stands after "Bearer" or "Basic"."""
    return _BEARER.sub(rf"\g<head>{MASK}", text)


def _web_token(found: re.Match[str]) -> str:
    """Hide dotted parts if a JSON web token is among them: a head, a body, and a signature that may be empty."""
    parts = found[0].split(".")
    is_token = any(_HEAD.search(head) and len(body) >= _SHORTEST for head, body in pairwise(parts[:-1]))
    return MASK if is_token else found[0]


def _without_private_keys(text: str) -> str:
    """Hide each private key with its two lines; one that was cut hides all from its beginning, or up to its end."""
    kept, done, begun = [], 0, False
    for line in _PEM.finditer(text):
        if line[1] == "END":
            kept.append(MASK)
            done, begun = line.end(), False
        elif not begun:
            kept.append(text[done : line.start()])
            begun = True
    return "".join([*kept, MASK if begun else text[done:]])
