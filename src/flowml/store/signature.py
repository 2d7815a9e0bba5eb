"""Finds a model's input example among the task's own inputs, and its signature from that.

A wrong signature is worse than none, as the loaded model would refuse good data: an example counts only if its columns
are those the model was fitted on, and a signature goes without outputs when predicting the example fails.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from flowml.store.examples import array_of, frame_with, tables_in
from flowml.store.features import Features, features_of, fitted_frame, forecast_frame
from flowml.store.networks import evaluating, precision_of

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

_INTEGER_BITS, _LONG_BITS = 32, 64
_SIGNED_ELSEWHERE = frozenset({"pyfunc", "transformers"})


def describe_interface(model: Any, flavor: str, inputs: Mapping[str, Any]) -> tuple[ModelSignature | None, Any]:
    """Find a model's signature and input example.

    The example is at most 5 rows of the table that the model was fitted on: the columns named by the model in its own
    order, never the target; a table of the right width when the model knows no names. Searched are the
    inputs and, one level inside, tuples, lists, mappings, dataclasses and named tuples.

    Without such a table a scikit-learn model gets its features as doubles; other models get no signature.
    An ``mlflow.pyfunc.PythonModel`` is never called: its type hints, which MLflow reads itself, are all that is known.

    Args:
        model: The fitted model.
        flavor: The MLflow module that will save it.
        inputs: The task's arguments by name.

    Returns:
        The signature and the example (a pandas frame or a NumPy array), each None if there is none.
    """
    if flavor in _SIGNED_ELSEWHERE:
        return None, None
    features = features_of(model, flavor)
    for example in _examples(model, flavor, features, inputs):
        prediction = _predict(model, flavor, example)
        if prediction is None and not features.names:
            continue  # only the width matched, so the model has the last word
        return _signature(example, prediction), example
    return (_doubles(model, features) if flavor == "sklearn" else None), None


def _examples(model: Any, flavor: str, features: Features, inputs: Mapping[str, Any]) -> list[Any]:
    """List what may be an example, the most likely first."""
    if flavor == "statsmodels":
        frame = fitted_frame(model)
        return [] if frame is None else [frame]
    tables = list(tables_in(inputs))
    if features.names:
        named = [(table, frame) for table in tables if (frame := frame_with(table, features.names)) is not None]
        exact = [frame for table, frame in named if len(table.columns) == len(features.names)]
        kept = forecast_frame(model, features.names) if flavor == "prophet" and not named else None
        return (exact + [frame for _, frame in named] + ([] if kept is None else [kept]))[:1]
    floats = precision_of(model) if flavor == "pytorch" else None
    arrays = [(table, array) for table in tables if (array := array_of(table, features.count, floats)) is not None]
    # A model that knows no names was fitted on an array; a frame is only what the array may have come from.
    arrays.sort(key=lambda found: (hasattr(found[0], "columns"), -found[1].shape[1]))
    return [array for _, array in arrays]


def _predict(model: Any, flavor: str, example: Any) -> Any:
    """Predict a few rows; None if the model cannot."""
    try:
        if flavor == "xgboost" and not hasattr(model, "get_booster"):
            import xgboost

            categorical = hasattr(example, "dtypes") and "category" in {str(dtype) for dtype in example.dtypes}
            return model.predict(xgboost.DMatrix(example, enable_categorical=categorical))
        if flavor == "pytorch":
            return _forward(model, example)
        if flavor in {"keras", "tensorflow"}:
            return model.predict(example, verbose=0)
        return model.predict(example)
    except Exception:  # noqa: BLE001 - any library may raise anything; the signature goes without outputs
        return None


def _forward(model: Any, example: Any) -> Any:
    """Run a torch module as it predicts."""
    torch = importlib.import_module("torch")
    device = next((parameter.device for parameter in model.parameters()), "cpu")
    with evaluating(model), torch.no_grad():
        return model(torch.from_numpy(example).to(device)).cpu().numpy()


def _signature(example: Any, prediction: Any) -> ModelSignature | None:
    from mlflow.models import ModelSignature

    try:
        inputs = _schema(example)
    except Exception:  # noqa: BLE001 - columns that MLflow has no type for
        return None
    try:
        outputs = None if prediction is None else _schema(prediction)
    except Exception:  # noqa: BLE001 - outputs that MLflow has no type for
        outputs = None
    return ModelSignature(inputs=inputs, outputs=outputs)


def _schema(data: Any) -> Schema:
    """Infer an MLflow schema without its hint about integer columns, which only a process-wide filter could silence.

    The integers are inferred as floats, then named as the integers they are.
    """
    from mlflow.models import infer_signature
    from mlflow.types import ColSpec, Schema

    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(data, pandas.DataFrame | pandas.Series):
        return cast("Schema", infer_signature(data).inputs)
    columns = [data] if isinstance(data, pandas.Series) else [data.iloc[:, i] for i in range(data.shape[1])]
    columns = [column.infer_objects() for column in columns]
    kinds = [_integer_type(column) for column in columns]
    floats = [column.astype("float64") if kind else column for column, kind in zip(columns, kinds, strict=True)]
    inferred = infer_signature(floats[0] if isinstance(data, pandas.Series) else pandas.concat(floats, axis=1)).inputs
    return Schema(
        [
            ColSpec(type=kind, name=spec.name, required=spec.required) if kind else spec
            for spec, kind in zip(inferred.inputs, kinds, strict=True)
        ]
    )


def _integer_type(column: Any) -> Any:
    """MLflow's type for a column of integers, None for other columns."""
    import pandas as pd
    from mlflow.types import DataType
    from mlflow.types.schema import AnyType

    dtype = column.dtype
    if dtype.kind == "O":
        return DataType.long if pd.api.types.infer_dtype(column, skipna=True) == "integer" else None
    if dtype.kind not in "iu":
        return None
    bits = dtype.itemsize * 8 - (dtype.kind == "i")  # those that are left for the number itself
    if bits < _INTEGER_BITS:
        return DataType.integer
    return DataType.long if bits < _LONG_BITS else AnyType()  # MLflow has no unsigned 64-bit type


def _doubles(model: Any, features: Features) -> ModelSignature | None:
    """Sign a model by its features alone, unless it chooses columns itself or does not take numbers."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    steps = getattr(model, "steps", None)
    first = steps[0][1] if steps else model
    if not features.count or hasattr(first, "transformers") or hasattr(first, "categories_"):
        return None
    if features.names:
        return ModelSignature(inputs=Schema([ColSpec(type=DataType.double, name=name) for name in features.names]))
    return ModelSignature(inputs=Schema([TensorSpec(np.dtype("float64"), (-1, features.count))]))
