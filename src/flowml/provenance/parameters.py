"""A flow's parameters as JSON that the flow can be called with again, without secrets."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pydantic import BaseModel, TypeAdapter

from flowml.describe import hints
from flowml.describe.hiding import hides_item
from flowml.errors import pass_on
from flowml.options import Skip
from flowml.provenance.files import Parameters
from flowml.secrets import MASK, mask

_LONGEST = 1_000_000  # characters of one parameter
_MOST = 100_000  # values in one parameter
_LENGTH = TypeAdapter(timedelta)


class _NoJsonError(Exception):
    """JSON has no form of a value that the flow would take for it."""


def parameters(given: Mapping[str, Any], logged: Mapping[str, Any], annotations: Mapping[str, Any]) -> Parameters:
    """Turn a flow's parameters into what JSON holds; now, for the flow may change them.

    Args:
        given: All parameters, by name.
        logged: Those that the flow's `Track` lets be logged.
        annotations: The declared types, by which Prefect makes values of texts again.
    """
    found = Parameters()
    for name, value in given.items():
        annotation = annotations.get(name)
        if name not in logged or isinstance(hints.marker_in(annotation), Skip):
            found.missing[name] = "it is not to be logged"
            continue
        one = _One(is_typed=annotation is not None)
        try:
            plain = one.plain(value, name)
            text = json.dumps(plain)
        except _NoJsonError as problem:
            found.missing[name] = str(problem)
            continue
        except BaseException as error:  # noqa: BLE001 - a value of the user's may raise anything
            pass_on(error)
            found.missing[name] = f"JSON does not hold it: {type(error).__name__}"
            continue
        if len(text) > _LONGEST:
            found.missing[name] = f"it is longer than {_LONGEST:,} characters"
            continue
        found.values[name] = plain
        if one.is_masked:
            found.masked.append(name)
    return found


class _One:
    """One parameter on its way to JSON."""

    def __init__(self, *, is_typed: bool) -> None:
        self.is_masked = False
        self._is_typed = is_typed
        self._left = _MOST

    def plain(self, value: Any, name: str) -> Any:
        """Return a value as JSON holds it, what is secret in it masked."""
        self._left -= 1
        if self._left < 0:
            msg = f"it holds more than {_MOST:,} values"
            raise _NoJsonError(msg)
        if hides_item(name, value):
            self.is_masked = True
            return MASK
        kind = type(value)
        if value is None or kind in (bool, int, float):
            return value
        if kind is str:
            return self._text(value)
        if kind is list:
            return [self.plain(item, name) for item in value]
        if kind is dict and all(type(key) is str for key in value):
            return {key: self.plain(item, key) for key, item in value.items()}
        if not self._is_typed:
            msg = f"a {kind.__name__} becomes another value in JSON, and the parameter declares no type"
            raise _NoJsonError(msg)
        return self._typed(value, name)

    def _typed(self, value: Any, name: str) -> Any:
        """Return what a declared type is made from again."""
        if isinstance(value, PurePath | UUID | Decimal):
            return self._text(str(value))
        if isinstance(value, date | time) or type(value) is timedelta:  # pandas has one that is finer
            return _LENGTH.dump_python(value, mode="json") if isinstance(value, timedelta) else value.isoformat()
        if isinstance(value, Enum):
            return self.plain(value.value, name)
        if isinstance(value, tuple | set | frozenset):
            return [self.plain(item, name) for item in value]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {each.name: getattr(value, each.name) for each in dataclasses.fields(value) if each.init}
            return {key: self.plain(item, key) for key, item in fields.items()}
        if isinstance(value, BaseModel):
            return {key: self.plain(item, key) for key, item in value.model_dump(mode="json").items()}
        msg = f"JSON does not hold a {type(value).__name__}"
        raise _NoJsonError(msg)

    def _text(self, text: str) -> str:
        shown = mask(text)
        self.is_masked = self.is_masked or shown != text
        return shown
