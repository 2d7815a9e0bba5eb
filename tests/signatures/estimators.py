"""Estimators that are fitted on the frames, each with what it predicts by."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import xgboost
from catboost import CatBoostClassifier
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler


def _categories() -> OneHotEncoder:
    return OneHotEncoder(handle_unknown="ignore", sparse_output=False)


def _words(rows: Any) -> list[str]:
    """Make one text of each row, whatever is in it."""
    return [" ".join(map(str, ("word", *row))) for row in rows.to_numpy(dtype=object)]


def _by_type() -> ColumnTransformer:
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
        (_categories(), make_column_selector(dtype_exclude="number")),
    )


ESTIMATORS: dict[str, Callable[[], Any]] = {
    "linear": LinearRegression,
    "logistic": LogisticRegression,
    "forest": lambda: RandomForestClassifier(3, random_state=0),
    "histogram": lambda: HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=2),
    "by type": lambda: make_pipeline(_by_type(), LogisticRegression()),
    "encoded": lambda: make_pipeline(_categories(), LogisticRegression()),
    "ordinal": lambda: make_pipeline(
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), RandomForestClassifier(3, random_state=0)
    ),
    "counted words": lambda: make_pipeline(FunctionTransformer(_words), CountVectorizer(), LogisticRegression()),
    "clusters": lambda: KMeans(2, n_init=1, random_state=0),
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=3, enable_categorical=True),
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=3, min_child_samples=2, verbose=-1),
    "catboost": lambda: CatBoostClassifier(iterations=2, verbose=0, allow_writing_files=False),
}
"""What makes each estimator."""

TARGET = np.asarray([0, 1, 1] * 10)


def fit(name: str) -> Callable[[Any], Any]:
    """Make a function that fits the estimator of this name."""

    def fit_quietly(data: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the columns are
            return ESTIMATORS[name]().fit(data, TARGET[: data.shape[0]])

    return fit_quietly


def takes(name: str, data: Any) -> bool:
    """Whether the estimator itself can be fitted on the data, and predicts it afterwards."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit(name)(data).predict(data)
    except Exception:  # noqa: BLE001 - whatever its library raises
        return False
    return True


def equal(one: Any, other: Any) -> bool:
    """Whether two predictions are the same."""
    return bool(np.allclose(np.asarray(one, dtype=float), np.asarray(other, dtype=float), equal_nan=True))
