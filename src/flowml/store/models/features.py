"""Reads from a fitted model which columns it was fitted on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowml.store.backend.imports import let_through

_MADE_UP = re.compile(r"(Column_)?\d+")  # what LightGBM and CatBoost call the columns of an array


@dataclass(frozen=True, slots=True)
class Features:
    """The columns that a model takes, as far as it knows.

    Attributes:
        names: Their names in order.
        count: How many there are.
        kinds: What they held, as the kinds of NumPy's types.
    """

    names: tuple[str, ...] = ()
    count: int | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)


def features_of(model: Any, flavor: str) -> Features:
    """Read a model's feature names, and their number, in whichever way its library keeps them."""
    names = _first(model, "feature_names_in_", "feature_names_", "feature_names", "feature_name")
    count = _first(model, "n_features_in_", "num_features", "num_feature")
    if flavor in {"keras", "tensorflow"}:
        shape = _first(model, "input_shape")
        count = shape[1] if isinstance(shape, tuple) and len(shape[1:]) == 1 else None
    if flavor == "prophet":
        names = _forecast_columns(model)
    names = tuple(str(name) for name in names) if names is not None else ()
    if names and all(_MADE_UP.fullmatch(name) for name in names):
        return Features((), len(names))
    kinds = dict(zip(names, _xgboost_kinds(model), strict=False)) if flavor == "xgboost" else {}
    return Features(names, int(count) if count else len(names) or None, kinds)


def _xgboost_kinds(model: Any) -> list[str]:
    """What XGBoost was fitted on: it alone keeps that, in letters of its own."""
    booster = _first(model, "get_booster") or model
    kinds = {"int": "i", "float": "f", "q": "f", "i": "b"}
    return [kinds.get(kind, "O") for kind in _first(booster, "feature_types") or []]


def takes_numbers_only(model: Any) -> bool:
    """Tell whether a scikit-learn model takes columns of numbers without gaps, in whatever type they are."""
    steps = getattr(model, "steps", None)
    first = steps[0][1] if steps else model
    if hasattr(first, "transformers") or hasattr(first, "categories_"):
        return False
    try:
        from sklearn.utils import get_tags

        tags = get_tags(first).input_tags
    except BaseException as error:  # noqa: BLE001 - an older scikit-learn, or tags of any class of the user's
        let_through(error)
        return False
    return not (tags.allow_nan or tags.string or tags.categorical)


def is_encoded_otherwise(model: Any, rows: Any) -> bool:
    """Tell whether a model's encoder knows none of the values that a column has, so that it was fitted on others."""
    try:
        for name, known in _categories_of(model):
            values = rows[name].dropna()
            if len(values) and not values.isin(known).any():
                return True
    except BaseException as error:  # noqa: BLE001 - of values that cannot be compared, of a class of the user's
        let_through(error)
    return False


def _categories_of(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the columns that a scikit-learn model encodes before all else, and the values that it knows of each."""
    yield from zip(getattr(model, "feature_names_in_", ()), getattr(model, "categories_", ()), strict=False)
    if hasattr(model, "best_estimator_"):
        yield from _categories_of(model.best_estimator_)
    parts = getattr(model, "steps", None) or getattr(model, "transformers_", None) or []
    for _, part, *_ in parts[:1] if hasattr(model, "steps") else parts:
        yield from _categories_of(part)


def _first(model: Any, *attributes: str) -> Any:
    """The first of these attributes or methods that the model can answer; unfitted parts raise."""
    for attribute in attributes:
        try:
            value = getattr(model, attribute)
            value = value() if callable(value) else value
        except BaseException as error:  # noqa: BLE001 - the next attribute may answer
            let_through(error)
            continue
        if value is not None:
            return value
    return None


def fitted_data(results: Any) -> Any:
    """What a statsmodels model was fitted on, which its results keep: None if they do not.

    A formula takes the raw columns that its right side names, other models take the design matrix. Time series models
    predict from dates, so no frame describes them.
    """
    model = getattr(results, "model", None)
    data = getattr(model, "data", None)
    if data is None or hasattr(results, "forecast"):
        return None
    formula, frame = getattr(model, "formula", None), getattr(data, "frame", None)
    if isinstance(formula, str) and frame is not None:
        right = set(re.findall(r"\w+", formula.partition("~")[2]))
        columns = [column for column in frame.columns if str(column) in right]
        return frame[columns] if columns else None
    return getattr(data, "orig_exog", None)


def _forecast_columns(model: Any) -> list[str]:
    """The columns that a Prophet model asks for when it predicts."""
    bounds = ["cap"] * (model.growth == "logistic") + ["floor"] * bool(model.logistic_floor)
    conditions = [each["condition_name"] for each in model.seasonalities.values() if each.get("condition_name")]
    return list(dict.fromkeys(["ds", *bounds, *model.extra_regressors, *conditions]))


def forecast_frame(model: Any, names: Sequence[str]) -> Any:
    """What a Prophet model was fitted on, which it keeps: None if it keeps some of it scaled."""
    if model.history is None or model.extra_regressors:
        return None
    return model.history[list(names)]
