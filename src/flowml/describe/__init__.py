"""From values to records: what a call was given, and what it gave, as things that can be logged. Knows no MLflow.

Words: `inputs`, `outputs` and `yielded` (of a call), `register` (teach a type), `Place` (where a value stands),
`dispatch` (which describer serves a type). Below it: `types`, `tables`, `formats`.
"""

from __future__ import annotations

from flowml.describe.by_name import named, named_metrics, named_params
from flowml.describe.calls import inputs, outputs, yielded
from flowml.describe.dispatch import Describer, register, register_lazy
from flowml.describe.limits import RunParams
from flowml.describe.place import Hidden, Place
from flowml.describe.plain import shown_inputs, shown_output
from flowml.describe.text import error_text
from flowml.describe.types import prompts, read_models
from flowml.secrets import MASK, mask

__all__ = [
    "MASK",
    "Describer",
    "Hidden",
    "Place",
    "RunParams",
    "error_text",
    "inputs",
    "mask",
    "named",
    "named_metrics",
    "named_params",
    "outputs",
    "prompts",
    "read_models",
    "register",
    "register_lazy",
    "shown_inputs",
    "shown_output",
    "yielded",
]
