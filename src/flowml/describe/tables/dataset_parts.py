"""What the describers of tables and arrays share: the sample, the fingerprint, MLflow's form of a schema."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flowml import options, records
from flowml.describe.dispatch import Describer, find, register
from flowml.describe.metrics import sampled
from flowml.describe.place import Place
from flowml.describe.text import cut, error_text, key_text
from flowml.errors import pass_on
from flowml.secrets import mask
from flowml.storable import clean

if TYPE_CHECKING:
    import numpy.typing as npt

tables: set[Describer] = set()
"""The describers of tables and arrays: numbers that stand beside what they serve are a target, not a history."""

MOST_ROWS = 10_000  # that are looked at
MOST_CELLS = 200_000
MOST_COLUMNS = 1_000


def register_table(kind: type, describer: Describer) -> None:
    """Register the describer of a type of table or array."""
    register(kind, describer)
    tables.add(describer)


def any_table(values: Iterable[Any]) -> bool:
    """Tell whether a table or an array is among the values."""
    return any(find(type(value)) in tables and getattr(value, "ndim", 1) != 0 for value in values)


def rows(length: int, width: int) -> Sequence[int]:
    """Give the positions of the rows to look at, evenly spread: all of a small table."""
    return sampled(length, max(2, min(MOST_ROWS, MOST_CELLS // max(1, width))))


def cells(length: int) -> Sequence[int]:
    """Give the positions of the values of an array or list to look at, evenly spread: all of a small one."""
    return range(length) if length <= MOST_CELLS else sampled(length, MOST_ROWS)


def sample(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Take all elements of a small array, of a large one an even sample."""
    import numpy as np

    values = np.asarray(value)
    if values.size <= MOST_CELLS:
        return values
    return values[np.unravel_index(np.asarray(cells(values.size)), values.shape)]


def columns(width: int) -> Sequence[int]:
    """Give the positions of the columns whose content is looked at."""
    return sampled(width, MOST_COLUMNS)


def digest(*parts: bytes | str) -> str:
    """Give the fingerprint of what says which data it is; the same in each process."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "backslashreplace") if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big"))
        whole.update(data)
    return whole.hexdigest()[:32]


UNKNOWN = "unknown"
"""The type of a column that cannot be looked at. MLflow has no such type: its schema says "any", the profile which."""


def colspec(types: Iterable[tuple[Any, Any, bool]]) -> dict[str, Any]:
    """Write columns, each with its name, MLflow type and whether it has no gaps, as MLflow does."""
    specs = []
    for name, kind, required in types:
        form = kind if isinstance(kind, dict) else {"type": "any" if kind == UNKNOWN else kind}
        specs.append({**form, "name": column_name(name), "required": required})
    return {"mlflow_colspec": specs}


def column_name(name: Any) -> int | str:
    """Name a column as the schema does."""
    return name if type(name) is int else mask(clean(key_text(name)))


def tensorspec(dtype: str, shape: Sequence[int]) -> dict[str, Any]:
    """Write an array's type and shape as MLflow does: any number of rows."""
    spec = [{"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": [-1, *shape[1:]]}}]
    return {"mlflow_tensorspec": {"features": json.dumps(spec), "targets": None}}


def table_profile(length: int, width: int, looked_at: int) -> dict[str, Any]:
    """Say how large a table is, and how much of it was looked at when not all."""
    profile = {"num_rows": length, "num_elements": length * width}
    if looked_at < length:
        profile["sampled_rows"] = looked_at
    if width > MOST_COLUMNS:
        profile["num_columns"] = width
        profile["schema_columns"] = MOST_COLUMNS
    return profile


def saved(place: Place, suffix: str, write: Callable[[], str | bytes], remedy: str) -> Iterator[records.Record]:
    """Put a dataset's content among the artifacts, if the user wants that; where it is refused, say why.

    Args:
        place: Where the dataset stands.
        suffix: The ending of the format.
        write: Gives it in that format.
        remedy: What the user can do where the format cannot hold it.
    """
    if not (isinstance(place.marker, options.Dataset) and place.marker.save):
        return
    try:
        data = write()
    except BaseException as error:  # noqa: BLE001 - of whatever library writes it
        pass_on(error)
        yield records.Lost(
            place.name,
            f"save the content of {place.name!r}",
            f"{cut(' '.join(error_text(error).split()), 500)}. {remedy}",
        )
    else:
        yield records.Blob(place.path(suffix, "data"), data.encode() if isinstance(data, str) else data)
