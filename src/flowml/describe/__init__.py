"""From values to records: what a call was given, and what it gave, as things that can be logged."""

from __future__ import annotations

from flowml.describe.by_name import named, named_metrics, named_params
from flowml.describe.calls import inputs, outputs, yielded
from flowml.describe.dispatch import Describer, register, register_lazy
from flowml.describe.limits import MOST_PARAMS, fit, key_apart
from flowml.describe.place import Place
from flowml.describe.secrets import mask
from flowml.describe.text import error_text

__all__ = [
    "MOST_PARAMS",
    "Describer",
    "Place",
    "error_text",
    "fit",
    "inputs",
    "key_apart",
    "mask",
    "named",
    "named_metrics",
    "named_params",
    "outputs",
    "register",
    "register_lazy",
    "yielded",
]
