"""The one way from a value to its records: markers and secrets first, then the type's describer, never an exception."""

from __future__ import annotations

from typing import Any

from flowml import options, records
from flowml.describe import markers
from flowml.describe.dispatch import as_list, find
from flowml.describe.hiding import hides
from flowml.describe.place import DEEPEST, Place
from flowml.describe.tables.sources import sourced
from flowml.describe.text import SHORT, cut, error_text, type_name, typed
from flowml.describe.written import written
from flowml.errors import pass_on
from flowml.secrets import MASK


def describe(value: Any, place: Place) -> list[records.Record]:  # noqa: PLR0911 - one line for each case
    """Describe one value; whatever happens on the way, something comes out."""
    marker = place.marker
    if type(marker) is options.Skip:
        return []
    try:
        if place.is_secret and (place.depth > DEEPEST or hides(value, place)):
            return _hidden(place)
        if place.above and id(value) in place.above:
            return [records.Param(place.label, f"<circular reference to a {type_name(type(value))}>")]
        if place.depth > DEEPEST:
            return fallback(value, place)
        value = as_list(value)
        if marker is not None:
            marked = markers.describe(value, place, describe)
            if marked is not None:
                return marked
        describer = find(type(value))
        if describer is None:
            return fallback(value, place)
        found = describer(value, place)
        found = found if type(found) is list else list(found)
        return sourced(found, place) if type(marker) is options.Dataset and marker.source else found
    except BaseException as error:  # noqa: BLE001 - a user's object or describer may raise anything
        pass_on(error)
        return not_described(value, place, error)


def _hidden(place: Place) -> list[records.Record]:
    """Mask what was given; leave out, and count, what was returned."""
    if place.role == "input":
        return [records.Param(place.label, MASK)]
    if place.hidden:
        place.hidden.note(place.name)
    return []


def fallback(value: Any, place: Place) -> list[records.Record]:
    """Describe a value of which nothing is known, by its type and a short repr."""
    if type(place.marker) is options.Artifact:
        return list(written(value, place, {".txt": typed, ".md": typed, ".log": typed}))
    return [records.Param(place.label, typed(value))]


def not_described(value: Any, place: Place, error: BaseException) -> list[records.Record]:
    """Say in a parameter, and to whoever logs, that a value could not be described, and why."""
    if place.is_secret:
        return _hidden(place)
    text = cut(f"{type_name(type(value))} (not described: {error_text(error)})", SHORT)
    return [records.Param(place.label, text), records.Lost(place.label, f"describe {place.label!r}", f"{text}.")]
