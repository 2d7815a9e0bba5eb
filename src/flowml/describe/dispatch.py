"""Which describer serves a value: by its type, through the MRO, found once for each type."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeVar, overload
from weakref import WeakKeyDictionary

from flowml.describe.place import Place
from flowml.errors import pass_on
from flowml.locks import RLock
from flowml.records import Record

_logger = logging.getLogger(__name__)

ENTRY_POINTS = "flowml.describers"


class Describer(Protocol):
    """Turns one value into records. A plain function does."""

    def __call__(self, value: Any, place: Place, /) -> Iterable[Record]:
        """Yield what there is to log about a value.

        Args:
            value: What to describe; it must not be changed, and an iterator not be used up.
            place: Where it stands: its name, whether it is an input or an output, its marker.
        """


_D = TypeVar("_D", bound=Describer)

part_by_part: set[Describer] = set()
"""Those that do no more than describe each key or field by itself, so that a marker on the whole can hold for each."""

lists: set[Describer] = set()
"""Those that describe a list; what they serve is the list that it holds, whatever class it is of."""


by_structure: set[Describer] = set()
"""Those that tell what a value is like, and none of its texts: no name hides these, though it may be a secret's."""


class _Registry:
    """All describers. Types are kept weakly, so that classes made on the fly can go away."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.by_type: WeakKeyDictionary[type, Describer] = WeakKeyDictionary()
        self.found: WeakKeyDictionary[type, Describer] = WeakKeyDictionary()
        self.shapes: list[tuple[Callable[[type], bool], Describer]] = []
        self.abstract: list[tuple[Callable[[type], bool], Describer]] = []
        self.waiting: dict[str, Callable[[], None]] = {}
        self.plugins_loaded = False

    def add(self, kind: type, describer: Describer) -> None:
        with self.lock:
            self.by_type[kind] = describer
            self.found.clear()

    def find(self, kind: type) -> Describer | None:
        """Give the describer of a type, or None when nothing is known about it."""
        describer = self.found.get(kind)
        if describer is None:
            with self.lock:
                describer = self._search(kind)
                if describer is None and not self.plugins_loaded:
                    self._load_plugins()
                    describer = self._search(kind)
                if describer is not None:
                    self.found[kind] = describer
        return describer

    def _search(self, kind: type) -> Describer | None:
        # A metaclass may say what it likes of __mro__: ask `type` itself.
        line: tuple[type, ...] = type.__dict__["__mro__"].__get__(kind)[:-1]
        self._load_libraries(line)
        for ancestor in line:
            if ancestor in self.by_type:
                return self.by_type[ancestor]
            for has_shape, describer in self.shapes:
                if has_shape(ancestor):
                    return describer
        return next((describer for applies, describer in self.abstract if applies(kind)), None)

    def _load_libraries(self, line: tuple[type, ...]) -> None:
        for prefix in list(_prefixes(line)):
            load = self.waiting.pop(prefix, None)
            if load is not None:
                try:
                    load()
                except BaseException as error:
                    pass_on(error)
                    _logger.warning(
                        "flowml cannot describe what %s makes; it logs its type instead", prefix, exc_info=True
                    )

    def _load_plugins(self) -> None:
        self.plugins_loaded = True
        for entry_point in entry_points(group=ENTRY_POINTS):
            try:
                entry_point.load()()
            except BaseException as error:
                pass_on(error)
                _logger.warning(
                    "flowml leaves out the describers %r, which failed to load", entry_point.value, exc_info=True
                )


def _prefixes(line: tuple[type, ...]) -> Iterator[str]:
    """Give `a`, `a.b` and `a.b.c` for each class that lives in module `a.b.c`."""
    for kind in line:
        module = type.__dict__["__module__"].__get__(kind)
        if isinstance(module, str):
            end = module.find(".")
            while end >= 0:
                yield module[:end]
                end = module.find(".", end + 1)
            yield module


_registry = _Registry()
find = _registry.find


def as_list(value: Any) -> Any:
    """Give a list of a class of its own, such as a mapped task's results, as the list that it is; else the value."""
    kind = type(value)
    if kind is list or list not in type.__dict__["__mro__"].__get__(kind) or find(kind) not in lists:
        return value
    return list.copy(value)


@overload
def register(kind: type, describer: _D) -> _D: ...
@overload
def register(kind: type) -> Callable[[_D], _D]: ...
def register(kind: type, describer: _D | None = None) -> _D | Callable[[_D], _D]:
    """Say how values of a type of yours, and of its subclasses, are logged.

    Args:
        kind: The type.
        describer: A function of a value and its `Place` that yields records. Left out, `register` is a decorator.

    Returns:
        The describer, unchanged.

    Raises:
        TypeError: If ``kind`` is not a type.

    Example:
        >>> @register(Invoice)
        ... def _(invoice, place):
        ...     yield records.Param(place.key("total"), str(invoice.total))
    """
    if not isinstance(kind, type):
        msg = f"register() takes a type, such as Invoice, not {kind!r}."
        raise TypeError(msg)
    if describer is None:

        def decorate(function: _D) -> _D:
            _registry.add(kind, function)
            return function

        return decorate
    _registry.add(kind, describer)
    return describer


def register_lazy(package: str, load: Callable[[], None]) -> None:
    """Register a library's types only when the first object of that library is seen.

    Args:
        package: The library's package, such as ``"pandas"``, or a module in it.
        load: Called once; it registers the types.
    """
    with _registry.lock:
        _registry.waiting[package] = load
        _registry.found.clear()


def register_shape(has_shape: Callable[[type], bool], describer: Describer) -> None:
    """Register for classes of a shape, such as dataclasses; asked of each class of the MRO, nearest first."""
    _registry.shapes.append((has_shape, describer))


def register_abstract(applies: Callable[[type], bool], describer: Describer) -> None:
    """Register for types that behave in some way; asked last, when nothing in the MRO is known."""
    _registry.abstract.append((applies, describer))
