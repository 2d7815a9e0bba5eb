"""From values to records: what a call was given, and what it gave, as things that can be logged."""

from __future__ import annotations

from flowml.describe.calls import inputs, named, outputs, yielded
from flowml.describe.dispatch import Describer, register, register_lazy
from flowml.describe.limits import MOST_PARAMS, fit, key_apart
from flowml.describe.place import Place
from flowml.describe.secrets import mask

__all__ = [
    "MOST_PARAMS",
    "Describer",
    "Place",
    "fit",
    "inputs",
    "key_apart",
    "mask",
    "named",
    "outputs",
    "register",
    "register_lazy",
    "yielded",
]
