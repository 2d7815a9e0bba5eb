"""Names that MLflow accepts, made of any text, and the way back to the text."""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache

from flowml.describe.text import fingerprint
from flowml.mlflow_limits import KEY as LONGEST
from flowml.secrets import mask
from flowml.storable import clean, legal_key

_LONGEST_NAME = 200  # bytes of a file's name: file systems take 255
_LONGEST_ENDING = 20  # characters


class Keys:
    """Gives each text one legal key and no two texts the same; remembers which were changed."""

    def __init__(self) -> None:
        self.changed: dict[str, str] = {}
        self._taken: dict[str, str] = {}

    def legal(self, text: str) -> str:
        """Give the key for a text: the text itself where MLflow accepts it."""
        if len(text) <= LONGEST and _is_fine(text) and self._taken.setdefault(text, text) == text:
            return text
        original = clean(mask(text))
        key = _closest(original)
        if self._taken.setdefault(key, text) != text:
            key = _with_mark(key, text)
            self._taken[key] = text
        if key != original or original != text:
            self.changed[key] = original
        return key


@lru_cache(maxsize=4096)
def _is_fine(text: str) -> bool:
    """Tell whether a key can stay as it is; the same few names come again with each call."""
    return legal_key(text) == text and mask(text) == text


def _closest(text: str) -> str:
    key = legal_key(text)
    return key if len(key) <= LONGEST else _with_mark(key, text)


def _with_mark(key: str, text: str) -> str:
    """Tell keys apart that would be the same."""
    return f"{key[: LONGEST - 9]}_{fingerprint(text)[:8]}"


def legal_path(path: str) -> str:
    """Give an artifact path that stays inside the run's artifacts."""
    parts = [part for part in clean(path.replace("\\", "/")).replace("\\", "_").split("/") if part.strip(". ")]
    return "/".join(map(_short_name, parts)) or "file"


def _short_name(name: str) -> str:
    """Cut a name that is too long for a file system before its ending."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    stem, ending = posixpath.splitext(name)
    ending = ending[:_LONGEST_ENDING]
    return stem.encode()[: _LONGEST_NAME - len(ending.encode())].decode("utf-8", "ignore") + ending


def legal_model_name(name: str) -> str:
    """Give a model name that MLflow accepts."""
    return re.sub(r"[/:.%\"']", "-", clean(mask(name)))[:LONGEST] or "model"
