"""The types that a signature gives to columns."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from flowml.store.backend.imports import let_through

if TYPE_CHECKING:
    from mlflow.types import ColSpec, Schema, TensorSpec

_INTEGER_BITS, _LONG_BITS = 32, 64


def schema_of(data: Any) -> Schema:
    """Infer the schema of data that is known to be what goes in, or comes out."""
    from mlflow.models import infer_signature
    from mlflow.types import ColSpec, Schema

    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(data, pandas.DataFrame | pandas.Series):
        return cast("Schema", infer_signature(data).inputs)
    if isinstance(data, pandas.Series):
        return Schema([ColSpec(type=_type_of(data), name=data.name, required=not data.isna().any())])
    return Schema(column_specs(data, None))


def column_specs(frame: Any, kept: Mapping[Any, str] | None) -> list[ColSpec | TensorSpec]:
    """Type the columns of a frame.

    MLflow takes no floats for integers, nor 64-bit integers for floats, and what a task was given may have been scaled
    or encoded under the same names before the fit. So a column is one of integers only where the model knows it.

    Args:
        frame: A few rows of it.
        kept: What the model itself knows of its columns, as the kinds of NumPy's types; None if it was fitted on this.
    """
    from mlflow.types import ColSpec

    specs: list[ColSpec | TensorSpec] = []
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        kind = _type_of(column) if kept is None else _type_before_the_fit(column, kept.get(name))
        specs.append(ColSpec(type=kind, name=name, required=not column.isna().any()))
    return specs


def untyped(spec: ColSpec | TensorSpec) -> ColSpec:
    """Let a column hold anything."""
    from mlflow.types import ColSpec
    from mlflow.types.schema import AnyType

    return ColSpec(type=AnyType(), name=spec.name, required=spec.required)


def is_untyped(spec: ColSpec | TensorSpec) -> bool:
    """Tell whether a column may hold anything."""
    from mlflow.types.schema import AnyType

    return isinstance(spec.type, AnyType)


def _type_before_the_fit(column: Any, kept: str | None) -> Any:
    """MLflow's type for a column of which the model knows this kind, or none."""
    from mlflow.types import DataType
    from mlflow.types.schema import AnyType

    known = {"f": DataType.double, "i": DataType.long, "b": DataType.boolean}.get(kept or "")
    if known is not None:
        return known
    kind = column.infer_objects().dtype.kind
    if kind == "f":
        return DataType.double
    found = AnyType() if kind in "iub" else _type_of(column)
    return found if isinstance(found, DataType) else AnyType()  # what lists and mappings hold may change in later rows


def _type_of(column: Any) -> Any:
    """MLflow's type for a column. Its inference warns of integers, which only a process-wide filter could silence."""
    from mlflow.models import infer_signature
    from mlflow.types import DataType
    from mlflow.types.schema import AnyType

    dtype = column.infer_objects().dtype
    if dtype.kind in "iu":
        bits = dtype.itemsize * 8 - (dtype.kind == "i")  # those that are left for the number itself
        if bits < _INTEGER_BITS:
            return DataType.integer
        return DataType.long if bits < _LONG_BITS else AnyType()  # MLflow has no unsigned 64-bit type
    try:
        return infer_signature(column.rename("column")).inputs.inputs[0].type
    except BaseException as error:  # noqa: BLE001 - of values that MLflow has no type for
        let_through(error)
        return AnyType()
