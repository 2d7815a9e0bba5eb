"""Finds a model's input example among the task's own inputs, and a signature that refuses nothing the model takes.

What the model itself says of its columns is the truth. A table of the task's counts only if the model predicts it, and
is signed only as far as MLflow then hands the model what it takes: a wrong signature is worse than none.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from flowml.store.backend.imports import let_through
from flowml.store.models.candidates import Candidate, candidates
from flowml.store.models.column_types import column_specs, is_untyped, schema_of, untyped
from flowml.store.models.enforcement import Predict, named, obstacle, obstacle_to_serving, refuses, survives
from flowml.store.models.features import Features, features_of, is_encoded_otherwise, takes_numbers_only
from flowml.store.models.torch_modules import evaluating

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

_NOT_ASKED = frozenset({"pyfunc", "transformers", "onnx"})  # signed elsewhere, or nothing that predicts by itself
_CONVERTING = frozenset({"sklearn", "xgboost", "lightgbm", "catboost"})  # they take numbers of any type
_UNKNOWN = "the model does not keep what numbers it was fitted on, and MLflow has no type for integers and floats alike"


class Interface(NamedTuple):
    """What is known of a model's inputs and outputs.

    Attributes:
        signature: Its signature; None if there is none that holds.
        example: A pandas frame or a NumPy array that it predicts; None if there is none.
        notes: What is missing of these, and why.
    """

    signature: ModelSignature | None = None
    example: Any = None
    notes: tuple[str, ...] = ()


def describe_interface(model: Any, flavor: str, inputs: Mapping[str, Any]) -> Interface:
    """Find a model's signature and input example.

    The example is at most 5 rows of the table that the model was fitted on: the columns named by the model in its own
    order, never the target; a table of the right width when the model knows no names. Searched are the
    inputs and, one level inside, tuples, lists, mappings, dataclasses and named tuples.

    Without such a table a scikit-learn model that takes plain numbers gets the names of its columns; others get no
    signature. An ``mlflow.pyfunc.PythonModel`` is never called: its type hints, which MLflow reads itself, are all that
    is known.

    Args:
        model: The fitted model.
        flavor: The MLflow module that will save it.
        inputs: The task's arguments by name.

    Returns:
        The signature, the example, and what is missing of them.
    """
    if flavor in _NOT_ASKED:
        return Interface()
    features = features_of(model, flavor)
    predict = partial(_predict, model, flavor)
    refusal = "none of the task's inputs is a table with its columns"
    for candidate in candidates(model, flavor, features, inputs):
        try:
            predicted = predict(candidate.rows)
        except BaseException as error:  # noqa: BLE001 - any library may raise anything: it was not fitted on this
            let_through(error)
            refusal = f"it does not take the table among the task's inputs ({named(error)})"
            continue
        if is_encoded_otherwise(model, candidate.rows):
            refusal = "its encoder knows no value of a column in the table among the task's inputs"
            continue
        described = _described(candidate, features, flavor, predict)
        if described.signature is not None and hasattr(model, "predict"):
            described.signature.outputs = _outputs(predicted)
        return described
    return _by_names(model, flavor, features, refusal)


def _predict(model: Any, flavor: str, rows: Any) -> Any:
    """Predict a few rows, or transform them where that is all that the model can."""
    if flavor == "xgboost" and not hasattr(model, "get_booster"):
        import xgboost

        categorical = hasattr(rows, "dtypes") and "category" in {str(dtype) for dtype in rows.dtypes}
        return model.predict(xgboost.DMatrix(rows, enable_categorical=categorical))
    if flavor == "pytorch":
        return _forward(model, rows)
    if flavor in {"keras", "tensorflow"}:
        return model.predict(rows, verbose=0)
    return (model.predict if hasattr(model, "predict") else model.transform)(rows)


def _forward(model: Any, rows: Any) -> Any:
    """Run a torch module as it predicts."""
    torch = importlib.import_module("torch")
    device = next((parameter.device for parameter in model.parameters()), "cpu")
    with evaluating(model), torch.no_grad():
        return model(torch.from_numpy(rows).to(device)).cpu().numpy()


def _described(candidate: Candidate, features: Features, flavor: str, predict: Predict) -> Interface:
    """Sign the model as far as MLflow hands it the candidate as it takes it, and check the example in the same way."""
    signature, reason = _first_that_holds(candidate, _schemas(candidate, features, flavor), predict)
    notes = []
    if signature is None:
        notes.append(f"no signature: {_why(candidate, reason)}")
    elif anything := [str(spec.name) for spec in signature.inputs.inputs if is_untyped(spec)]:
        why_any = f"MLflow has no type that surely takes what the model was fitted on{f' ({reason})' * bool(reason)}"
        notes.append(f"columns of any type: {', '.join(anything)}; {why_any}")
    unserved = obstacle_to_serving(predict, signature, candidate.example)
    if unserved:
        notes.append(f"no input example: from JSON the model does not get what it takes ({unserved})")
    return Interface(signature, None if unserved else candidate.example, tuple(notes))


def _first_that_holds(
    candidate: Candidate, schemas: Iterator[Schema], predict: Predict
) -> tuple[ModelSignature | None, str]:
    """Return the first signature by which MLflow loses nothing, and why the one that says most did."""
    from mlflow.models import ModelSignature

    reason = ""
    for schema in schemas:
        signature = ModelSignature(inputs=schema)
        found = obstacle(predict, signature, candidate.rows)
        if found is None and candidate.frame is not None:
            found = _obstacle_of_frame(predict, signature, candidate.frame)
        if found is None:
            return signature, reason
        reason = reason or found
    return None, reason


def _schemas(candidate: Candidate, features: Features, flavor: str) -> Iterator[Schema]:
    """Yield what may be the schema of the inputs, the one that says most first."""
    from mlflow.types import DataType, Schema

    rows = candidate.rows
    if not hasattr(rows, "columns"):
        if candidate.is_kept or flavor not in _CONVERTING or rows.dtype.kind == "f":
            yield schema_of(rows)
        return
    specs = column_specs(rows, None if candidate.is_kept else features.kinds)
    yield Schema(specs := [untyped(spec) if spec.name in candidate.unsure else spec for spec in specs])
    yield Schema(specs := [untyped(spec) if refuses(spec, rows) else spec for spec in specs])
    yield Schema(specs := [spec if spec.type == DataType.double else untyped(spec) for spec in specs])
    yield Schema([untyped(spec) for spec in specs])


def _outputs(predicted: Any) -> Schema | None:
    try:
        return schema_of(predicted)
    except BaseException as error:  # noqa: BLE001 - outputs that MLflow has no type for
        let_through(error)
        return None


def _obstacle_of_frame(predict: Predict, signature: ModelSignature, frame: Any) -> str | None:
    """Say why a frame without names of its own is not predicted the same; None if it is, or the model takes none."""
    try:
        predict(frame)
    except BaseException as error:  # noqa: BLE001 - it was fitted on an array
        let_through(error)
        return None
    return obstacle(predict, signature, frame)


def _why(candidate: Candidate, reason: str) -> str:
    """Say what about the rows keeps the model from having a signature."""
    rows = candidate.rows
    if not hasattr(rows, "columns"):
        return reason or _UNKNOWN
    if unnamed := [name for name in rows.columns if not isinstance(name, str) or not name]:
        return f"MLflow knows no column named {unnamed[0]!r}"
    columns = [rows.iloc[:, position] for position in range(rows.shape[1])]
    changed = [f"{column.name} ({column.dtype})" for column in columns if not survives(column)]
    return f"MLflow changes what it hands to the model of {', '.join(changed) or 'the columns'} ({reason})"


def _by_names(model: Any, flavor: str, features: Features, refusal: str) -> Interface:
    """Name the columns of a scikit-learn model that takes plain numbers, of whatever type."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    names = features.names
    if flavor != "sklearn" or not all(names) or len(set(names)) < max(len(names), 1) or not takes_numbers_only(model):
        return Interface(notes=(f"no signature: {refusal}",))
    signature = ModelSignature(inputs=Schema([ColSpec(type=AnyType(), name=name) for name in names]))
    return Interface(signature, notes=(f"columns of any type, and no input example: {refusal}",))
