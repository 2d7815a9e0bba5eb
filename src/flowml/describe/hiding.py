"""What a secret's name hides: text, and what text may be in; and how much was hidden."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

from flowml import options
from flowml.describe import metrics
from flowml.describe.dispatch import by_structure, find, part_by_part
from flowml.describe.place import DEEPEST, Place
from flowml.describe.tables.dataset_parts import tables
from flowml.secrets import is_reference, is_secret_number, is_secret_path

_MOST = 10_000  # numbers of one value that are looked at


def hides(value: Any, place: Place) -> bool:
    """Tell whether a value is hidden by its name, in which there is a secret's word.

    What only stands for a secret is shown: nothing, a flag, a placeholder. A number is a measure, unless it was given
    under the name of a secret, and so are many numbers. Tables, figures and models show nothing of a text. Of what was
    returned each part is asked about by itself.
    """
    if value is None or type(value) is bool or (type(value) is str and is_reference(value)):
        return False
    if _are_numbers(value, [_MOST], 0):
        return place.role == "input" and is_secret_number(place.name.rpartition(".")[2])
    describer = find(type(value))
    in_parts = describer in part_by_part and isinstance(place.marker, options.Param | options.Metric | None)
    return not (describer in tables or describer in by_structure or (in_parts and place.role == "output"))


def hides_item(name: str, item: Any) -> bool:
    """Tell whether an item of a nest that is shown as a whole is hidden by its key."""
    return is_secret_path(name) and hides(item, Place(name, "input"))


def _are_numbers(value: Any, left: list[int], depth: int) -> bool:
    """Tell whether a value is a number, or many, with gaps or without."""
    left[0] -= 1
    if left[0] < 0 or depth > DEEPEST:
        return False
    kind = type(value)
    if kind in (list, tuple, deque):
        return all(_are_numbers(item, left, depth + 1) for item in value)
    if kind in (dict, OrderedDict):
        return all(_are_numbers(item, left, depth + 1) for item in value.values())
    return value is None or kind is bool or metrics.number(value) is not None
