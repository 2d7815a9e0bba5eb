"""What an annotation says about a value and about its parts."""

from __future__ import annotations

import collections.abc
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from flowml.errors import pass_on
from flowml.options import Marker, marker_of

_ITERATORS = (
    collections.abc.Generator,
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
)
_field_hints: WeakKeyDictionary[type, dict[str, Any]] = WeakKeyDictionary()


def marker_in(annotation: Any) -> Marker | None:
    """Find the marker of an annotation, also inside ``Optional[...]`` and unions."""
    if annotation is None or type(annotation) is type:
        return None
    marker = marker_of(annotation)
    if marker is None and get_origin(annotation) in (Union, UnionType):
        marker = next(filter(None, map(marker_in, get_args(annotation))), None)
    return marker


def _bare(annotation: Any) -> Any:
    """Take off ``Annotated`` and ``Optional``."""
    while True:
        if hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
        elif get_origin(annotation) in (Union, UnionType):
            parts = [part for part in get_args(annotation) if part is not type(None)]
            if len(parts) != 1:
                return annotation
            annotation = parts[0]
        else:
            return annotation


def of_element(annotation: Any, index: int) -> Any:
    """Give the annotation of the element at a position of a tuple or list."""
    if annotation is None:
        return None
    bare = _bare(annotation)
    parts = get_args(bare)
    if get_origin(bare) is tuple and not (len(parts) == 2 and parts[1] is Ellipsis):  # noqa: PLR2004 - tuple[X, ...]
        return parts[index] if index < len(parts) else None
    return parts[0] if parts else None


def of_item(annotation: Any) -> Any:
    """Give the annotation of a mapping's values."""
    if annotation is None:
        return None
    parts = get_args(_bare(annotation))
    return parts[1] if len(parts) == 2 else None  # noqa: PLR2004 - dict[K, V]


def of_yielded(annotation: Any) -> Any:
    """Give the annotation of what a generator yields."""
    bare = _bare(annotation)
    parts = get_args(bare)
    return parts[0] if get_origin(bare) in _ITERATORS and parts else annotation


def of_fields(kind: type) -> dict[str, Any]:
    """Give the annotations of a class's fields by name; empty where they cannot be resolved."""
    hints = _field_hints.get(kind)
    if hints is None:
        try:
            hints = get_type_hints(kind, include_extras=True)
        except BaseException as error:  # noqa: BLE001 - names that exist for the type checker only
            pass_on(error)
            hints = {}
        _field_hints[kind] = hints
    return hints
