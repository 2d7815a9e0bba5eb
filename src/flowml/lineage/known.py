"""Which name a table or model has already, so that the task that reads it names what another task of the flow made."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import Any

from flowml.lineage.told import Kind
from flowml.locks import RLock

_MOST = 10_000


class Tables:
    """Names of tables by their fingerprint; of too many the oldest are forgotten."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._names: OrderedDict[str, tuple[str, Kind]] = OrderedDict()

    def note(self, digest: str, name: str, kind: Kind) -> None:
        """Note how a table is called: by whoever made it, or saw it, last."""
        with self._lock:
            self._names[digest] = name, kind
            self._names.move_to_end(digest)
            while len(self._names) > _MOST:
                self._names.popitem(last=False)

    def find(self, digest: str) -> tuple[str, Kind] | None:
        """Return the name of a table that was seen in this process, and what it is."""
        with self._lock:
            return self._names.get(digest)


class Models:
    """Names of models by the very object, which is not kept alive."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._names: OrderedDict[int, tuple[weakref.ref[Any], str]] = OrderedDict()

    def note(self, value: Any, name: str) -> None:
        """Note how a model is called; one that takes no weak reference is not known again."""
        try:
            reference = weakref.ref(value)
        except TypeError:
            return
        with self._lock:
            self._names[id(value)] = reference, name
            self._names.move_to_end(id(value))
            while len(self._names) > _MOST:
                self._names.popitem(last=False)

    def find(self, value: Any) -> str | None:
        """Return the name of a model that was made in this process."""
        with self._lock:
            reference, name = self._names.get(id(value), (None, None))
        return name if reference is not None and reference() is value else None


tables = Tables()
models = Models()
