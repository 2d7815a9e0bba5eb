"""Whether a model that is loaded with a signature predicts what it does by itself: MLflow's own check, not a guess."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flowml.store.backend.imports import let_through

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, TensorSpec

Predict = Callable[[Any], Any]

_logger = logging.getLogger(__name__)


class _Kept:
    """In the place of a model: keeps what MLflow hands to it."""

    def __init__(self) -> None:
        self.data: Any = None

    def predict(self, data: Any) -> None:
        """Keep the data."""
        self.data = data


def obstacle(predict: Predict, signature: ModelSignature, rows: Any) -> str | None:
    """Say why rows that the model itself predicts are not predicted the same through a signature; None if they are."""
    try:
        return _difference(predict, _handed(signature, rows), rows)
    except BaseException as error:  # noqa: BLE001 - MLflow refuses the data, or the model what MLflow made of it
        let_through(error)
        return named(error)


def obstacle_to_serving(predict: Predict, signature: ModelSignature | None, example: Any) -> str | None:
    """Say why an input example, sent to a server of the model as JSON, is not predicted the same; None if it is."""
    from mlflow.models import convert_input_example_to_serving_input
    from mlflow.pyfunc.scoring_server import infer_and_parse_data

    try:
        sent = json.loads(convert_input_example_to_serving_input(example) or "")
        json.dumps(sent, ensure_ascii=False).encode()  # as files are written: text with lone surrogates is not
        received = infer_and_parse_data(sent, **({"schema": signature.inputs} if signature else {}))
        return _difference(predict, _handed(signature, received), example)
    except BaseException as error:  # noqa: BLE001 - MLflow refuses what it cannot write, the model what it then gets
        let_through(error)
        return named(error)


def refuses(spec: ColSpec | TensorSpec, rows: Any) -> bool:
    """Tell whether MLflow refuses a column of this type."""
    from mlflow.models import validate_schema
    from mlflow.types import Schema

    try:
        validate_schema(rows[[spec.name]], Schema([spec]))
    except BaseException as error:  # noqa: BLE001 - MLflow's own errors, and those of pandas when it converts
        let_through(error)
        return True
    return False


def survives(column: Any) -> bool:
    """Tell whether a column keeps its type where MLflow takes it apart into values, as it does with one of any type."""
    import pandas as pd

    return bool(pd.Series(list(column)).dtype == column.dtype)


def _handed(signature: ModelSignature | None, data: Any) -> Any:
    """What MLflow makes of data before it hands it to a model with this signature."""
    from mlflow.models import Model
    from mlflow.pyfunc import PyFuncModel

    PyFuncModel(Model(signature=signature), kept := _Kept()).predict(data)
    return kept.data


def _difference(predict: Predict, handed: Any, rows: Any) -> str | None:
    """Say how a model's predictions change; where the data is the same it is not asked."""
    if _is_same_data(handed, rows) or _is_same(predict(handed), expected := predict(rows)):
        return None
    is_random = not _is_same(predict(rows), expected)
    return None if is_random else "its predictions change"


def _is_same_data(handed: Any, rows: Any) -> bool:
    import numpy as np

    if type(handed) is not type(rows) or handed.shape != rows.shape:
        return False
    if isinstance(rows, np.ndarray):
        return bool(handed.dtype == rows.dtype and np.array_equal(handed, rows, equal_nan=rows.dtype.kind == "f"))
    return bool(handed.reset_index(drop=True).equals(rows.reset_index(drop=True)))  # it compares types and names too


def _is_same(predicted: Any, expected: Any) -> bool:
    """Whether two predictions are the same; what cannot be compared is taken to be."""
    import numpy as np
    import pandas as pd

    try:
        one, other = (
            np.asarray(each.toarray() if hasattr(each, "toarray") else each) for each in (predicted, expected)
        )
        if one.shape != other.shape:
            return False
        if {one.dtype.kind, other.dtype.kind} <= set("fiub"):
            return bool(np.allclose(one, other, rtol=1e-4, equal_nan=True))
        return bool(np.all((one == other) | (pd.isna(one) & pd.isna(other))))
    except BaseException as error:  # noqa: BLE001 - of any type that a model's predictions may have
        let_through(error)
        return True


def named(error: BaseException) -> str:
    """Name an error without the data that its message may hold; of MLflow's refusals the reason stands at the end."""
    from mlflow.exceptions import MlflowException

    _logger.debug("a model did not take what it was tried with", exc_info=error)
    reason = str(error).rpartition("Error: ")[2].partition("\n")[0] if isinstance(error, MlflowException) else ""
    return f"{type(error).__name__}{f': {reason}' if reason else ''}"
