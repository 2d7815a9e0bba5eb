"""Where a table was read from, as the user's `Dataset` marker says: nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flowml import options, records
from flowml.describe.place import Place
from flowml.describe.text import cut, error_text
from flowml.errors import pass_on
from flowml.secrets import mask
from flowml.secrets.uris import without_credentials

_LONGEST = 2_000  # characters


def sourced(found: list[records.Record], place: Place) -> list[records.Record]:
    """Note on the datasets among what was found where they were read from; say so if that cannot be told."""
    marker = place.marker
    if not isinstance(marker, options.Dataset) or not marker.source:
        return found
    try:
        source = _shown(_filled(marker.source, place.inputs))
        revision = mask(_filled(marker.revision, place.inputs)) if marker.revision else None
    except BaseException as error:  # noqa: BLE001 - a value of the user's is asked for its text
        pass_on(error)
        why = (
            f"Dataset(source={marker.source!r}) cannot be filled in: {error_text(error)}. "
            f"It can name what the call was given: {', '.join(place.inputs) or 'nothing'}."
        )
        return [*found, records.Lost(place.name, f"tell the source of {place.name!r}", why)]
    return [replace(one, source=source, revision=revision) if type(one) is records.Dataset else one for one in found]


def _filled(template: str, arguments: Mapping[str, Any]) -> str:
    return cut(template.format(**arguments), _LONGEST)


def _shown(source: str) -> str:
    """Return an address without what logs in there; what is none may hold a secret anywhere."""
    return without_credentials(source) if "://" in source else mask(source)
