"""Text and keys that every store takes: a database, a file, a request."""

from __future__ import annotations

import os
import posixpath
import re
from functools import lru_cache

from flowml.mlflow_limits import KEY

_ALLOWED = r"\w.\- /" if os.name == "nt" else r"\w.\- /:"
_LEGAL = re.compile(rf"[{_ALLOWED}]+\Z")
_ILLEGAL = re.compile(rf"[^{_ALLOWED}]")


def clean(text: str) -> str:
    r"""Make text storable: lone surrogates and NUL become their escapes, such as ``\udc80``."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


@lru_cache(maxsize=4096)
def legal_key(text: str) -> str:
    """Give the key that is closest to a text, of whatever length: the text itself where MLflow accepts it."""
    if _LEGAL.match(text) and not _is_other_path(text):
        return text
    key = _ILLEGAL.sub("_", clean(text))
    if _is_other_path(key):
        key = "/".join(part if part.strip(".") else "_" * len(part) for part in key.split("/") if part).lstrip("/")
    return (f"__{key[2:]}" if key.startswith("..") else key) or "_"


def numbered(key: str, number: int) -> str:
    """Give a key beside one that is taken: the same with a number, and no longer than MLflow takes.

    A key that is too long by itself stays so: whoever makes it legal keeps the whole of it.
    """
    end = f".{number}"
    return f"{key[: KEY - len(end)]}{end}" if len(key) <= KEY else f"{key}{end}"


def _is_other_path(text: str) -> bool:
    """Keys may become files: MLflow refuses those that would resolve to another name."""
    if "/" not in text and "." not in text:
        return False
    normal = posixpath.normpath(text)
    return normal != text or normal == "." or normal.startswith(("..", "/"))


def file_name(text: str) -> str:
    """Make a file's name of any text: it stays in its folder."""
    return re.sub(r"[^\w.\- ]", "_", clean(text)).strip(". ")[:120] or "_"
