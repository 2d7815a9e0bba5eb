"""Prefect's own objects: blocks by type and name, futures by type alone, states that are returned by their data."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from flowml import records
from flowml.describe.dispatch import register, register_lazy
from flowml.describe.place import Place
from flowml.describe.text import type_name
from flowml.describe.types.scalars import only_type, secret
from flowml.describe.values import describe


def _block(value: Any, place: Place) -> Iterator[records.Record]:
    """Say which block it is; its fields often are credentials."""
    name, kind = "", type_name(type(value))
    with suppress(sys.modules["prefect.blocks.core"].BlockNotSavedError):
        name = value.get_block_placeholder().rpartition(".")[2]
    yield records.Param(place.label, f"{kind}/{name}" if name else kind)


# What is met was imported before: the modules are looked up, as nothing here may import Prefect.
def _load_blocks() -> None:
    register(sys.modules["prefect.blocks.core"].Block, _block)


def _load_secret() -> None:
    register(sys.modules["prefect.blocks.system"].Secret, secret)


def _load_futures() -> None:
    register(sys.modules["prefect.futures"].PrefectFuture, only_type)


def _state(value: Any, place: Place) -> Iterator[records.Record]:
    """A state that is returned is logged as what it holds; what Prefect keeps elsewhere is not fetched."""
    data = value.data
    results = sys.modules.get("prefect.results")
    if results and isinstance(data, results.ResultRecord):
        data = data.result
    elif results and isinstance(data, results.ResultRecordMetadata):
        data = None
    if place.role == "input" or data is None:
        yield from only_type(value, place)
    else:
        yield from describe(data, replace(place, depth=place.depth + 1, above=(*place.above, id(value))))


def _load_states() -> None:
    register(sys.modules["prefect.client.schemas.objects"].State, _state)


def register_all() -> None:
    """Register Prefect's objects for when they are met."""
    register_lazy("prefect.blocks.core", _load_blocks)
    register_lazy("prefect.blocks.system", _load_secret)
    register_lazy("prefect.futures", _load_futures)
    register_lazy("prefect.client.schemas.objects", _load_states)
