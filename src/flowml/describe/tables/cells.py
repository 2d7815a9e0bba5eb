"""The content of cells that hold anything - lists, arrays, tables, objects - as bytes for a table's fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from flowml import records
from flowml.describe.dispatch import find
from flowml.describe.place import DEEPEST, Place
from flowml.describe.tables import dataset_parts
from flowml.describe.text import scalar_text, whole_repr
from flowml.errors import pass_on

if TYPE_CHECKING:
    import numpy.typing as npt

_MOST_ITEMS = 2_000_000  # of all lists and mappings of one column
_FEWEST_ITEMS = 100  # of each of them, however many there are
_NESTED = 8  # an item that holds others takes as long as so many that hold none
_IN_ARRAYS = 16  # so many elements of an array take as long as one item of a list
_FLAT = frozenset({str, int, float, bool, type(None), bytes})  # what Python's repr writes whole, and fast
_LOSSLESS = ("utf-8", "surrogatepass")


def content(cells: Sequence[Any]) -> bytes:
    """Give the fingerprint of a column's cells, whatever they are.

    All of a text counts, also its middle; of an array or list, all elements or, where the column has millions, an even
    sample. It is the same in each process. A cell that cannot be read counts by its type.

    Args:
        cells: The column's cells that are looked at.
    """
    most = max(_FEWEST_ITEMS, _MOST_ITEMS // max(1, len(cells)))
    return _joined("column", (_readable(cell, most) for cell in cells))


def _readable(value: Any, most: int) -> bytes:
    try:
        return _cell(value, most, 0)
    except BaseException as error:  # noqa: BLE001 - a class of the user's or of any library may raise anything
        pass_on(error)
        return _joined(type(value).__name__, ())


def _cell(value: Any, most: int, depth: int) -> bytes:  # noqa: PLR0911 - one line for each case
    kind = type(value)
    if kind is str:
        return b"s" + str.encode(value, *_LOSSLESS)
    if kind in _FLAT:
        return _flat(value)
    if depth > DEEPEST:
        return _joined(kind.__name__, ())
    if kind.__module__ == "numpy":
        if value.ndim > 0:
            return _array(value, most, depth)
        plain = value.item()
        return _flat(plain) if type(plain) in _FLAT else _joined("numpy", [str(value).encode()])
    if isinstance(value, (list, tuple)):
        return _sequence(value, most, depth)
    if isinstance(value, (set, frozenset)):
        return _joined("set", sorted(_cell(item, most, depth + 1) for item in value))
    if isinstance(value, Mapping):
        return _mapping(value, most, depth)
    text = scalar_text(value)
    if text is None and find(kind) in dataset_parts.tables:
        return _table(value) if len(getattr(value, "shape", ())) != 1 else _column(value, most, depth)
    return _joined(kind.__name__, [(whole_repr(value) if text is None else text).encode(*_LOSSLESS)])


def _flat(value: Any) -> bytes:
    try:
        return repr(value).encode(*_LOSSLESS)
    except ValueError:  # an int of more digits than Python writes
        return hex(value).encode()


def _sequence(value: Sequence[Any], most: int, depth: int) -> bytes:
    size = str(len(value)).encode()
    items = _even(value, most)
    if _FLAT.issuperset(map(type, items)):
        return _joined("list", [size, _flat(list(items))])
    items = _even(items, max(2, most // _NESTED))
    below = max(2, most // len(items))
    return _joined("list", [size, *(_cell(item, below, depth + 1) for item in items)])


def _mapping(value: Mapping[Any, Any], most: int, depth: int) -> bytes:
    items = list(islice(value.items(), max(2, most // _NESTED)))
    below = max(2, most // max(1, len(items)))
    pairs = ((_cell(key, below, depth + 1), _cell(item, below, depth + 1)) for key, item in items)
    return _joined("mapping", [str(len(value)).encode(), *sorted(_joined("", pair) for pair in pairs)])


def _array(value: npt.NDArray[Any], most: int, depth: int) -> bytes:
    head = (str(value.dtype).encode(), str(value.shape).encode())
    elements = value.reshape(-1)
    if value.dtype.hasobject:
        return _joined("array", [*head, _sequence(elements.tolist(), most, depth)])
    return _joined("array", [*head, _even(elements, _IN_ARRAYS * most).tobytes()])


def _even(items: Any, most: int) -> Any:
    """Take at most so many items, evenly spread: all of few."""
    return items if len(items) <= most else items[:: -(-len(items) // most)]


def _table(value: Any) -> bytes:
    """Take the fingerprint that a table in a cell has as an argument."""
    describer = find(type(value))
    found = describer(value, Place("cell", "input")) if describer else ()
    return _joined("table", [each.digest.encode() for each in found if isinstance(each, records.Dataset)])


def _column(value: Any, most: int, depth: int) -> bytes:
    """Take all of a series or index, as of an array: as an argument it is a table, of which a sample would do."""
    to_numpy = getattr(value, "to_numpy", None)
    if to_numpy is None:  # an array of a class of its own
        return _table(value)
    labels = getattr(value, "index", None)
    arrays = [to_numpy(), *([] if labels is None else [labels.to_numpy()])]
    head = (str(value.dtype), whole_repr(value.name))
    parts = [*(text.encode(*_LOSSLESS) for text in head), *(_array(each, most, depth + 1) for each in arrays)]
    return _joined(type(value).__name__, parts)


def _joined(what: str, parts: Iterable[bytes]) -> bytes:
    whole = hashlib.sha256(what.encode(*_LOSSLESS))
    for part in parts:
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.digest()
