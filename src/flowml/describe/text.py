"""Text made of any value: it cannot fail, it is bounded, and it is the same each time."""

from __future__ import annotations

import builtins
import hashlib
import json
import re
import reprlib
from typing import Any

from flowml.describe.secrets import mask, mask_known
from flowml.errors import pass_on

SHORT = 250  # characters of a text that stands in a table
_MOST_DIGITS = 4000  # Python refuses to write an int of more than 4,300
_NAME = 12  # characters of a key too short to be a known form of secret
_ADDRESS = re.compile(r"\s+at 0x[0-9a-fA-F]+")
_WINDOW = 4000  # characters of an object's own repr that are looked at, from each end


class _Repr(reprlib.Repr):
    """The standard bounded repr, with limits of our own."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 12
        self.maxdeque = self.maxarray = 12
        self.maxstring = self.maxother = _WINDOW

    def repr1(self, x: Any, level: int) -> str:
        """Describe one value; unlike the standard one, by the true type and never failing."""
        kind = type(x)
        if kind is int:
            return int_text(x)
        if kind.__module__ == "builtins" and kind.__name__ in _BOUNDED:
            return str(getattr(self, f"repr_{kind.__name__}")(x, level))
        if getattr(kind, "__repr__", None) is list.__repr__:  # of a class of its own that is shown as a list
            return self.repr_list(list.__getitem__(x, slice(0, self.maxlist + 1)), level)
        if kind.__module__ in {"collections", "array"} and kind.__name__ in {"deque", "array"}:
            return str(getattr(self, f"repr_{kind.__name__}")(x, level))
        try:
            text = builtins.repr(x)
            return cut(str.__str__(text), 2 * _WINDOW)
        except BaseException as error:  # noqa: BLE001 - whatever a user's __repr__ raises
            pass_on(error)
            return f"<{type_name(kind)}>"


_BOUNDED = frozenset({"str", "list", "tuple", "set", "frozenset", "dict"})
_repr = _Repr()


def type_name(kind: type) -> str:
    """Name a type as one would in code: ``Invoice``, ``pandas.DataFrame``."""
    name = str(type.__dict__["__qualname__"].__get__(kind)).replace("<locals>.", "")
    return clean(name.rsplit(".", maxsplit=1)[-1])[:SHORT]


def full_name(thing: Any) -> str:
    """Name a function or class with its module, such as ``numpy.linalg.norm``."""
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None) or type_name(type(thing))
    module = getattr(thing, "__module__", None)
    return f"{module}.{name}" if isinstance(module, str) and module != "builtins" else str(name)


def int_text(value: int) -> str:
    """Write an int, also one that Python itself refuses to write in decimal."""
    bits = int.bit_length(value)
    if bits < 3 * _MOST_DIGITS:
        return int.__repr__(value)
    return f"int of {bits:,} bits: {cut(format(int(value) >> max(0, bits - 256), '#x'), 80)}…"


def clean(text: str) -> str:
    r"""Make text storable: lone surrogates and NUL become their escapes, such as ``\udc80``."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def cut(text: str, most: int = SHORT) -> str:
    """Shorten text in its middle."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def short(value: Any, most: int = SHORT) -> str:
    """Write any value in a few characters: its repr without memory addresses, secrets masked."""
    try:
        text = _repr.repr(value)
    except BaseException as error:  # noqa: BLE001 - a hostile value: its type must do
        pass_on(error)
        text = f"<{type_name(type(value))}>"
    return cut(mask(_ADDRESS.sub("", clean(text))), most)


def whole_repr(value: Any) -> str:
    """Write any value by its own repr, however long, without memory addresses; secrets stay: it is to be hashed."""
    try:
        return _ADDRESS.sub("", str.__str__(repr(value)))
    except BaseException as error:  # noqa: BLE001 - whatever a user's __repr__ raises
        pass_on(error)
        return f"<{type_name(type(value))}>"


def error_text(error: BaseException) -> str:
    """Write an error's type and what it says, secrets masked; its type alone where its own text fails."""
    name = type_name(type(error))
    try:
        return mask(clean(f"{name}: {error}"))
    except BaseException as another:  # noqa: BLE001 - a __str__ of the user's
        pass_on(another)
        return name


def typed(value: Any) -> str:
    """Write the type of any value and its short repr, unless the repr names the type."""
    name, text = type_name(type(value)), short(value)
    return text if name in text else cut(f"{name}: {text}")


def key_text(part: object) -> str:
    """Write a mapping's key, a field's name or a position."""
    if isinstance(part, str):
        text = str.__str__(part)
        return text if len(text) <= _NAME else mask_known(text[: 2 * _WINDOW])
    if type(part).__module__ == "numpy" and isinstance(plain := _item(part), (int, float)):
        part = plain
    return int.__repr__(part) if type(part) is int and 0 <= part < _MOST_DIGITS else short(part)


def _item(part: Any) -> Any:
    """Give what Python has for a NumPy number: its repr is not that of the number."""
    return part.item() if getattr(part, "ndim", None) == 0 else None


def fingerprint(text: str) -> str:
    """Give the start of the text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def as_json(value: Any) -> str:
    """Write plain data as JSON, readably: not escaped beyond need."""
    return clean(json.dumps(value, ensure_ascii=False))
