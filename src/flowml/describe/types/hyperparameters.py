"""The settings of a model, as each library keeps them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from flowml.describe.plain import as_text, plain
from flowml.describe.text import as_json, full_name, short, type_name
from flowml.errors import pass_on
from flowml.secrets import is_secret_name, is_secret_number

_MOST = 1_000
_MOST_IN_LABEL = 80  # characters
_NOTHING = frozenset({"None", "True", "False"})


def is_shown(name: str, text: str) -> bool:
    """Whether a setting may be shown."""
    if not is_secret_name(name) or text in _NOTHING:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return not is_secret_number(name)


def none(_: Any) -> Iterable[tuple[str, str]]:
    """A model with no settings that can be told."""
    return ()


def _text(value: Any) -> str:
    if isinstance(value, type) or type(value).__name__ == "function":
        return full_name(value)
    known, data = plain(value, most=100)
    return as_text(data) if known else short(value)


def _settings(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in list(values.items())[:_MOST]:
        if not _holds_estimator(value):
            yield str(name), _text(value)


def of_estimator(model: Any) -> Iterator[tuple[str, str]]:
    """Settings of an estimator in scikit-learn's manner, those of estimators inside it by their own names."""
    yield from _settings(_values_of(model))


def defaults_of(model: Any) -> frozenset[str]:
    """Name the settings of an estimator that are as its class has them, those of estimators inside it too."""
    values = _values_of(model)
    holders = {**values, "": model}
    return frozenset(name for name, value in values.items() if _is_default(name, value, holders))


def label(model: Any) -> str:
    """Name a model as one would tell it from others: ``LogisticRegression(C=0.1)``; a pipeline by its last step.

    Args:
        model: The model.

    Returns:
        The name of its type, and the plain settings that are not its class's, as many as fit in a few words.
    """
    try:
        return _label(model)
    except BaseException as error:  # noqa: BLE001 - get_params of a user's own estimator may raise anything
        pass_on(error)
        return type_name(type(model))


def _label(model: Any) -> str:
    steps = getattr(model, "steps", None)
    if isinstance(steps, list) and steps and isinstance(steps[-1], tuple) and hasattr(steps[-1][-1], "predict"):
        return _label(steps[-1][-1])
    values, name = _values_of(model, deep=False), type_name(type(model))
    own = {**values, "": model}
    changed = [
        f"{key}={_text(value)}"
        for key, value in values.items()
        if isinstance(value, (str, int, float)) and not is_secret_name(key) and not _is_default(key, value, own)
    ]
    if hasattr(type(values.get("estimator")), "get_params"):  # a search, a calibration, an ensemble of one kind
        changed.insert(0, _label(values["estimator"]))
    while len(", ".join(changed)) > _MOST_IN_LABEL:
        changed.pop()
    return f"{name}({', '.join(changed)})" if changed else name


def _values_of(model: Any, *, deep: bool = True) -> dict[str, Any]:
    try:
        values: dict[str, Any] = model.get_params(deep=deep)
    except (AttributeError, TypeError):
        return {}
    return values


def _is_default(name: str, value: object, values: Mapping[str, object]) -> bool:
    """Tell whether a setting is its class's default: that of the estimator which the name leads to."""
    owner, _, own = name.rpartition("__")
    holder = values.get(owner)
    kind: Any = type(holder)
    default = _defaults_of(kind).get(own, inspect.Parameter.empty)
    # By their reprs: NaN is not equal to itself, arrays and estimators have no one answer.
    return type(default) is type(value) and (default is value or short(default) == short(value))


@lru_cache(maxsize=256)
def _defaults_of(kind: Any) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for each in reversed(kind.__mro__[:-1]):  # a class that passes `**kwargs` on has the defaults of those it is of
        with suppress(TypeError, ValueError):
            parameters = inspect.signature(each.__init__).parameters
            found |= {name: one.default for name, one in parameters.items()}
    return found


def _holds_estimator(value: Any) -> bool:
    """Tell an estimator, or the list of named ones that a pipeline has; their settings come by themselves."""
    if isinstance(value, (list, tuple)):
        return any(_holds_estimator(item) for item in value[:100])
    return hasattr(type(value), "get_params")


def of_xgboost(booster: Any) -> Iterator[tuple[str, str]]:
    """Settings of a trained booster: what XGBoost saves as text."""
    learner = json.loads(booster.save_config())["learner"]
    yield "booster", str(learner["learner_train_param"]["booster"])
    yield "objective", str(learner["learner_train_param"]["objective"])
    yield from _settings(learner["gradient_booster"].get("tree_train_param", {}))
    yield "num_boosted_rounds", str(booster.num_boosted_rounds())


def of_lightgbm(booster: Any) -> Iterator[tuple[str, str]]:
    """Settings that a LightGBM booster was trained with."""
    yield from _settings(booster.params)
    yield "num_trees", str(booster.num_trees())


def of_torch(module: Any) -> Iterator[tuple[str, str]]:
    """Size of a network."""
    parameters = list(module.parameters())
    yield "type", type_name(type(module))
    yield "num_parameters", str(sum(part.numel() for part in parameters))
    yield "num_trainable", str(sum(part.numel() for part in parameters if part.requires_grad))


def of_keras(model: Any) -> Iterator[tuple[str, str]]:
    """Size of a network, and how it is trained."""
    yield "type", type_name(type(model))
    yield "num_parameters", str(model.count_params())
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        yield from ((f"optimizer.{name}", text) for name, text in _settings(optimizer.get_config()))


def of_statsmodels(results: Any) -> Iterator[tuple[str, str]]:
    """What a statistical model was estimated with."""
    model = results.model
    yield "type", type_name(type(model))
    for name in ("formula", "nobs", "order", "seasonal_order", "trend"):
        value = getattr(model, name, None)
        if value is not None:
            yield name, _text(value)


def of_prophet(model: Any) -> Iterator[tuple[str, str]]:
    """What a forecast was set up with, the seasonalities and regressors that were added included."""
    own = type(model).__mro__[-2]  # Prophet itself: a subclass may take other arguments
    arguments = {name: getattr(model, name, None) for name in inspect.signature(own).parameters}
    yield from _settings({name: value for name, value in arguments.items() if isinstance(value, (str, int, float))})
    yield from _settings(
        {
            "country_holidays": model.country_holidays,
            "seasonalities": list(model.seasonalities),
            "extra_regressors": list(model.extra_regressors),
        }
    )


def of_pipeline(pipeline: Any) -> Iterator[tuple[str, str]]:
    """Task and model of a transformers pipeline."""
    yield "task", str(pipeline.task)
    yield "model", str(getattr(pipeline.model, "name_or_path", type_name(type(pipeline.model))))


def of_onnx(model: Any) -> Iterator[tuple[str, str]]:
    """Who exported a network to ONNX, with which operators, and its size."""
    if model.producer_name:
        yield "producer", f"{model.producer_name} {model.producer_version}".strip()
    yield "opsets", as_json({each.domain or "ai.onnx": each.version for each in model.opset_import})
    yield "num_nodes", str(len(model.graph.node))
