"""Which columns of the data a model takes, and in which form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowml.errors import RegistryError, did_you_mean, listed

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

_OF_NUMBERS = {"boolean", "double", "float", "integer", "long"}


def table_for(model: Any, signature: ModelSignature | None, data: pd.DataFrame, target: str, whose: str) -> Any:
    """Return the rows with the columns that a model takes, as it takes them.

    Args:
        model: The model.
        signature: What MLflow knows of its columns; None if it knows nothing.
        data: The rows, with the target.
        target: The target's column.
        whose: The model's name, for messages.

    Raises:
        RegistryError: If a column that it takes is not there, or holds something else.
    """
    fitted, count = _learned(model, "feature_names_in_"), _learned(model, "n_features_in_")
    types = _types(signature)
    others = [column for column in data.columns if column != target]
    wanted = list(fitted) if fitted is not None else [name for name in types if name in data or types[name][1]]
    wanted = wanted or others
    _check_there(wanted, data, others, whose)
    _check_types(types, data[wanted], whose)
    if fitted is not None or count is None:
        return data[wanted]
    if len(wanted) != count:
        msg = (
            f"{whose} was fitted on {count} columns without names, and the data has {len(wanted)} beside the target. "
            "Leave out the others, or fit it on a frame with names. Nothing was decided."
        )
        raise RegistryError(msg)
    return data[wanted].to_numpy()


def _check_there(wanted: list[Any], data: pd.DataFrame, others: list[Any], whose: str) -> None:
    missing = [name for name in wanted if name not in data.columns]
    if missing:
        hint = did_you_mean(str(missing[0]), map(str, others), most=2) or f"It has {listed(map(str, others))}."
        msg = f"{whose} takes the column {missing[0]!r}, which the data does not have. {hint} Nothing was decided."
        raise RegistryError(msg)


def _check_types(types: dict[str, tuple[str, bool]], table: pd.DataFrame, whose: str) -> None:
    """Tell texts from numbers; MLflow's own check is for pyfunc models alone, and refuses 1 where 1.0 was learned."""
    from pandas.api.types import is_numeric_dtype

    for name in table.columns:
        wanted = types.get(name, ("", False))[0]
        is_of_numbers = is_numeric_dtype(table[name].dtype)
        if (wanted in _OF_NUMBERS and not is_of_numbers) or (wanted == "string" and is_of_numbers):
            msg = (
                f"{whose} takes the column {name!r} as {wanted}, and in the data it is {table[name].dtype}. "
                "Give it the type that the model was fitted on. Nothing was decided."
            )
            raise RegistryError(msg)


def _types(signature: ModelSignature | None) -> dict[str, tuple[str, bool]]:
    """Return the type of each column that a signature names, and whether it must be there."""
    inputs = getattr(signature, "inputs", None)
    if inputs is None or not inputs.has_input_names() or inputs.is_tensor_spec():
        return {}
    return {each.name: (getattr(each.type, "name", str(each.type)), bool(each.required)) for each in inputs.inputs}


def _learned(model: Any, name: str) -> Any:
    """Return what an estimator learned of its columns; a pipeline asks its first step, which may not know it."""
    try:
        return getattr(model, name, None)
    except Exception:  # noqa: BLE001 - a property of the user's own may raise anything
        return None
