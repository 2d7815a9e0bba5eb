"""A table of whatever library: its columns are looked at one by one, so that an odd one costs nothing of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from flowml import records
from flowml.describe.place import Place
from flowml.describe.tables import dataset_parts, distribution
from flowml.errors import pass_on

if TYPE_CHECKING:
    import numpy.typing as npt

T = TypeVar("T")


class Columns(Protocol):
    """A table's columns, by their positions; each method may raise anything."""

    @property
    def names(self) -> Sequence[Any]:
        """Their names."""

    def spec(self, at: int) -> tuple[Any, bool]:
        """Tell a column's MLflow type, and whether it has no gaps."""

    def content(self, at: int) -> bytes:
        """Give what its values are fingerprinted by: the same for equal values in each process."""

    def numbers(self, at: int) -> npt.NDArray[Any] | None:
        """Give its values as floats, None if they are no numbers."""


def described(
    place: Place, kind: str, length: int, looked_at: int, columns: Columns, *known: str | bytes
) -> records.Dataset:
    """Describe a table.

    Args:
        place: Where it stands.
        kind: Its type.
        length: How many rows it has.
        looked_at: How many of them are looked at.
        columns: Looks at its columns.
        *known: What belongs to its fingerprint besides their content.
    """
    width = len(columns.names)
    specs = []
    for at in range(min(width, dataset_parts.MOST_COLUMNS)):
        spec, is_whole = _looked_at(columns.spec, at, (dataset_parts.UNKNOWN, False))
        specs.append((columns.names[at], spec, is_whole))
    chosen = dataset_parts.columns(width)
    digest = dataset_parts.digest(*known, *(_looked_at(columns.content, at, b"") for at in chosen))
    profile = dataset_parts.table_profile(length, width, looked_at)
    if unknown := [dataset_parts.column_name(name) for name, spec, _ in specs if spec == dataset_parts.UNKNOWN]:
        profile["unknown_columns"] = unknown
    if distribution.is_wanted(place):
        numbers = ((columns.names[at], _looked_at(columns.numbers, at, None)) for at in chosen)
        profile |= distribution.of_columns(numbers)
    return records.Dataset(place.name, place.role, digest, kind, dataset_parts.colspec(specs), profile)


def _looked_at(look: Callable[[int], T], at: int, otherwise: T) -> T:
    try:
        return look(at)
    except BaseException as error:  # noqa: BLE001 - of any library, and of classes of the user's in the cells
        pass_on(error)
        return otherwise
