"""Text made of any value: it cannot fail, it is bounded, and it is the same each time."""

from __future__ import annotations

import builtins
import datetime as dt
import decimal
import enum
import fractions
import hashlib
import json
import os
import pathlib
import re
import reprlib
import uuid
from collections.abc import Callable
from itertools import islice
from typing import Any

from flowml.errors import pass_on
from flowml.secrets import mask, mask_known
from flowml.storable import clean

SHORT = 250  # characters of a text that stands in a table
_MOST_DIGITS = 4000  # Python refuses to write an int of more than 4,300
_MOST_LEVELS = 10  # of a key that is a tuple
_NAME = 12  # characters of a key too short to be a known form of secret
_ADDRESS = re.compile(r"(?<!\s)\s+at 0x[0-9a-fA-F]+")
_WINDOW = 4000  # characters of an object's own repr that are looked at, from each end


class _Repr(reprlib.Repr):
    """The standard bounded repr, with limits of our own."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 12
        self.maxdeque = self.maxarray = 12
        self.maxstring = self.maxother = _WINDOW

    def repr1(self, x: Any, level: int) -> str:  # noqa: PLR0911 - one line for each case
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
            if _holds_rows(x, kind):
                return _shape(x, kind)
            if kind in _VIEWS:
                return f"{kind.__name__}({self.repr_list(list(islice(x, self.maxlist + 1)), level)})"
            text = builtins.repr(x)
            return cut(str.__str__(text), 2 * _WINDOW)
        except BaseException as error:  # noqa: BLE001 - whatever a user's __repr__ raises
            pass_on(error)
            return f"<{type_name(kind)}>"


_BOUNDED = frozenset({"str", "list", "tuple", "set", "frozenset", "dict"})
_VIEWS = frozenset({type({}.keys()), type({}.values()), type({}.items())})
_MOST_FIELDS = 100  # of an object that are looked at
_repr = _Repr()


def _holds_rows(value: Any, kind: type) -> bool:
    """Tell a table, whose repr has its rows in it, and an object that holds one; short arrays are shown."""
    return _is_table(value, kind) or any(
        _is_table(field, type(field)) for field in islice(getattr(value, "__dict__", {}).values(), _MOST_FIELDS)
    )


def _is_table(value: Any, kind: type) -> bool:
    if hasattr(kind, "__arrow_c_stream__") or hasattr(kind, "__arrow_c_array__"):
        return True
    return hasattr(kind, "shape") and (kind.__module__.partition(".")[0] == "pandas" or getattr(value, "ndim", 0) > 1)


def _shape(value: Any, kind: type) -> str:
    shape = getattr(value, "shape", None) if hasattr(kind, "shape") else None
    return f"<{type_name(kind)} {' × '.join(map(str, shape))}>" if isinstance(shape, tuple) else f"<{type_name(kind)}>"  # noqa: RUF001 - times


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


def _enum_text(value: enum.Enum) -> str:
    return scalar_text(value._value_) or value._name_


TEXTS: dict[type, Callable[[Any], str]] = {
    str: str.__str__,
    bool: bool.__repr__,
    int: int_text,
    float: float.__repr__,
    complex: complex.__repr__,
    type(None): repr,
    enum.Enum: _enum_text,
    dt.datetime: dt.datetime.isoformat,
    dt.date: dt.date.isoformat,
    dt.time: dt.time.isoformat,
    dt.timedelta: dt.timedelta.__str__,
    decimal.Decimal: decimal.Decimal.__str__,
    fractions.Fraction: fractions.Fraction.__str__,
    uuid.UUID: uuid.UUID.__str__,
    pathlib.PurePath: os.fspath,
    range: range.__repr__,
    re.Pattern: lambda value: str(value.pattern),
}


def scalar_text(value: Any) -> str | None:
    """Write a scalar as text; None when it is no scalar."""
    kind = type(value)
    write = TEXTS.get(kind)
    if write is None:
        if isinstance(kind, enum.EnumMeta):
            return _enum_text(value)
        write = next((TEXTS[ancestor] for ancestor in kind.__mro__[:-1] if ancestor in TEXTS), None)
    return None if write is None else write(value)


def key_text(part: object) -> str:
    """Write a mapping's key, a field's name or a position: by its value, so that ``np.int64(0)`` is ``0``."""
    if type(part) is int and 0 <= part < _MOST_DIGITS:
        return int.__repr__(part)
    try:
        text = part if type(part) is str else _name(part)
    except Exception:  # noqa: BLE001 - of any class
        text = short(part)
    return text if len(text) <= _NAME else mask_known(text[: 2 * _WINDOW])


def _name(part: Any) -> str:
    kind = type(part)
    if isinstance(kind, enum.EnumMeta):  # the name of a member says more than a number
        return str.__str__(part._value_) if isinstance(part._value_, str) else str(part._name_ or part)
    if kind is tuple:  # of a table with several levels, or of groups
        levels = [short(each) if type(each) is tuple else key_text(each) for each in part[:_MOST_LEVELS]]
        return f"({', '.join(levels)})"
    if kind.__module__.partition(".")[0] in {"numpy", "pandas"} and getattr(part, "ndim", 0) == 0:
        return scalar_text(part) or str(part)  # their reprs name the type
    text = scalar_text(part)
    return short(part) if text is None else text


def fingerprint(text: str) -> str:
    """Give the start of the text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def as_json(value: Any) -> str:
    """Write plain data as JSON, readably: not escaped beyond need."""
    return clean(json.dumps(value, ensure_ascii=False))
