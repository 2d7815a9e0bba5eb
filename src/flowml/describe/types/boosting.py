"""XGBoost's and LightGBM's own tables as MLflow datasets; describing one neither builds nor changes it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from flowml import options, records
from flowml.describe.dispatch import register_lazy
from flowml.describe.formats import tabular
from flowml.describe.place import Place
from flowml.describe.tables import dataset_parts
from flowml.describe.text import type_name
from flowml.describe.types import arrays
from flowml.describe.values import describe

MOST_PARTS = 100  # tables of one Dataset that are looked at
_TYPES = {"int": "integer", "i": "boolean", "c": "integer"}  # XGBoost's names of its columns' types; others are float


def _matrix(value: Any, place: Place) -> Iterator[records.Record]:
    """A DMatrix: its size, columns, and an even sample of its rows with their labels and weights."""
    length, width, stored = int(value.num_row()), int(value.num_col()), int(value.num_nonmissing())
    names, types = value.feature_names, value.feature_types
    is_small = max(length, stored) <= dataset_parts.MOST_CELLS
    chosen = range(length) if is_small else dataset_parts.rows(length, stored // max(1, length))
    content = _rows(value, None if is_small else chosen)
    fingerprint = dataset_parts.digest(str((length, width, stored)), str(names), str(types), *content)
    if names:
        kinds = types or ["float"] * len(names)
        full = stored == length * width
        columns = zip(names[: dataset_parts.MOST_COLUMNS], kinds, strict=False)
        schema = dataset_parts.colspec((name, _TYPES.get(kind, "float"), full) for name, kind in columns)
    else:
        schema = dataset_parts.tensorspec("float32", (length, width))
    profile = {**dataset_parts.table_profile(length, width, len(chosen)), "num_stored": stored}
    kind = f"xgboost.{type_name(type(value))}"
    yield records.Dataset(place.name, place.role, fingerprint, kind, schema, profile)
    yield from dataset_parts.saved(place, ".npz", lambda: tabular.sparse_npz(value.get_data()), _REMEDY)


_REMEDY = "Return the table that it was made of with Dataset(save=True) instead."


def _rows(value: Any, chosen: Sequence[int] | None) -> Iterator[bytes]:
    """Take the content of a matrix, or of a sample of its rows: a slice costs what is in it."""
    part = value
    if chosen is not None:
        try:
            part = value.slice(list(chosen), allow_groups=True)
        except Exception:  # noqa: BLE001 - one of quantiles, or one on the disk, cannot be cut
            part = None
    if part is not None:
        with suppress(Exception):  # what is on the disk cannot be read
            found = part.get_data()
            yield from map(arrays.content, (found.data, found.indices, found.indptr))
    elif hasattr(value, "get_quantile_cut"):
        with suppress(Exception):
            yield from map(arrays.content, value.get_quantile_cut())
    for name in ("label", "weight", "base_margin", "label_lower_bound", "label_upper_bound"):
        with suppress(Exception):
            yield name.encode() + arrays.content((value if part is None else part).get_float_info(name))
    with suppress(Exception):
        yield arrays.content(value.get_uint_info("group_ptr"))


# What was found out about the values of a Dataset before LightGBM freed them: its digest is the same afterwards.
_before: WeakKeyDictionary[Any, records.Dataset] = WeakKeyDictionary()


def _dataset(value: Any, place: Place) -> Iterator[records.Record]:
    """A LightGBM Dataset, by its attributes alone: its methods build it, or fill in what they are asked for."""
    chosen = getattr(value, "used_indices", None)
    whole = value.reference if chosen is not None and value.reference is not None else value
    found, others = _values(whole, place)
    length = int(found.profile.get("num_rows", 0)) if chosen is None else len(chosen)
    parts = [found.digest.encode()]
    if chosen is not None:
        parts.append(_sample(chosen, "int64").tobytes())
    for name, dtype in (("label", "float32"), ("weight", "float32"), ("init_score", "float64"), ("group", "int64")):
        parts += _about(value, whole if chosen is not None and name == "label" else None, name, dtype)
    width = int(found.profile.get("num_elements", 0)) // max(1, int(found.profile.get("num_rows", 0)))
    sizes = {"num_rows": length, "num_elements": length * width}
    yield replace(
        found,
        name=place.name,
        role=place.role,
        digest=dataset_parts.digest(*parts),
        kind="lightgbm.Dataset",
        profile=found.profile if chosen is None else sizes,
    )
    yield from others if chosen is None else ()


def _values(value: Any, place: Place) -> tuple[records.Dataset, list[records.Record]]:
    """Describe what a Dataset was made of, or what is known of it when that is gone; and what else is to be logged."""
    if value.data is None:
        return _before.get(value) or _built(value), []
    marker = place.marker if isinstance(place.marker, options.Dataset) else None
    place = replace(place, role="input", returned=False, marker=marker)
    found = [record for part in _parts(value.data) for record in describe(part, place)]
    tables = [record for record in found if isinstance(record, records.Dataset)]
    if tables:
        known = tables[0] if len(tables) == 1 else _joined(tables)
        if _is_rows(value.data):  # of which the table is a sample
            length, width = len(value.data), len(value.data[0])
            profile = {**known.profile, **dataset_parts.table_profile(length, width, known.profile["num_rows"])}
            known = replace(known, digest=dataset_parts.digest(str(length), known.digest), profile=profile)
    else:  # a file, or a sequence that reads one
        known = _untold(value, str([getattr(record, "value", "") for record in found]))
    with suppress(TypeError):
        _before[value] = known
    return known, [record for record in found if isinstance(record, records.Blob)]


def _parts(raw: Any) -> list[Any]:
    """Give the tables that a Dataset was made of: one, or several below each other; of rows in lists a sample."""
    if not isinstance(raw, list):
        return [raw]
    if _is_rows(raw):
        import pandas as pd

        return [pd.DataFrame([raw[index] for index in dataset_parts.rows(len(raw), len(raw[0]))])]
    return raw[:MOST_PARTS]


def _is_rows(raw: Any) -> bool:
    return isinstance(raw, list) and bool(raw) and isinstance(raw[0], (list, tuple))


def _joined(tables: list[records.Dataset]) -> records.Dataset:
    profile = {name: sum(table.profile[name] for table in tables) for name in ("num_rows", "num_elements")}
    return replace(tables[0], digest=dataset_parts.digest(*(table.digest for table in tables)), profile=profile)


def _untold(value: Any, text: str) -> records.Dataset:
    """Describe a Dataset by its length where it has one that costs nothing."""
    raw = value.data if isinstance(value.data, list) else [value.data]
    profile = {}
    if not any(isinstance(part, str) for part in raw):
        with suppress(Exception):
            profile = {"num_rows": sum(map(len, raw))}
    return records.Dataset("", "input", dataset_parts.digest(text, str(profile)), "lightgbm.Dataset", {}, profile)


def _built(value: Any) -> records.Dataset:
    """Describe a Dataset that was never seen with its values: its size and names are left."""
    try:
        length, width = int(value.num_data()), int(value.num_feature())
    except sys.modules["lightgbm.basic"].LightGBMError:  # it was not built
        return records.Dataset("", "input", dataset_parts.digest("nothing"), "lightgbm.Dataset", {}, {})
    names = value.feature_name if isinstance(value.feature_name, list) else []
    named = bool(names) and names != [f"Column_{number}" for number in range(width)]
    schema = (
        dataset_parts.colspec((name, "double", False) for name in names[: dataset_parts.MOST_COLUMNS])
        if named
        else dataset_parts.tensorspec("float64", (length, width))
    )
    digest = dataset_parts.digest(str((length, width)), str(names))
    profile = dataset_parts.table_profile(length, width, length)
    return records.Dataset("", "input", digest, "lightgbm.Dataset", schema, profile)


def _about(value: Any, whole: Any, name: str, dtype: str) -> Iterator[bytes]:
    """Take a sample of the labels or weights, in the form that LightGBM gives them when it builds the Dataset."""
    with suppress(Exception):  # of any type that LightGBM takes, and of some that it does not
        numbers = getattr(value, name, None)
        if numbers is None and whole is not None:
            numbers = getattr(whole, name)
            numbers = None if numbers is None else [numbers[index] for index in value.used_indices]
        if numbers is None:
            return
        sample = _sample(numbers, dtype)
        if name != "weight" or not (sample == 1).all():  # LightGBM forgets weights that are all 1
            yield name.encode() + sample.tobytes()


def _sample(values: Any, dtype: str) -> Any:
    """Take the labels or the like: all of few, of many an even sample, before anything is copied."""
    import numpy as np

    found = values.to_numpy() if hasattr(values, "to_numpy") else values
    if not isinstance(found, np.ndarray):
        chosen = dataset_parts.cells(len(found))
        found = np.asarray(found if len(chosen) == len(found) else [found[index] for index in chosen])
    return dataset_parts.sample(found).astype(dtype).ravel()


def _loads(name: str, describer: Callable[[Any, Place], Iterator[records.Record]]) -> Callable[[], None]:
    def load() -> None:
        module, _, kind = name.rpartition(".")
        dataset_parts.register_table(getattr(sys.modules[module], kind), describer)

    return load


def register_all() -> None:
    """Register each library for when it is met."""
    register_lazy("xgboost", _loads("xgboost.core.DMatrix", _matrix))
    register_lazy("lightgbm", _loads("lightgbm.basic.Dataset", _dataset))
