"""The settings of a model, as each library keeps them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
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


def none(_: Asked) -> Iterable[tuple[str, str]]:
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


class Asked:
    """A model that is asked for its settings once: an estimator asks all those in it, which may take a while.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    @cached_property
    def values(self) -> dict[str, Any]:
        """The settings in scikit-learn's manner, those of estimators inside it too; none if it has none to tell."""
        return _values_of(self.model)

    def defaults(self) -> frozenset[str]:
        """Name the settings that are as their class has them."""
        holders = {**self.values, "": self.model}
        return frozenset(name for name, value in self.values.items() if _is_default(name, value, holders))

    def label(self) -> str:
        """Name it as one would tell it from others: ``LogisticRegression(C=0.1)``; a pipeline by its last step.

        Returns:
            The name of its type, and the plain settings that are not its class's, as many as fit in a few words.
        """
        try:
            return _label(self.model, self.values)
        except BaseException as error:  # noqa: BLE001 - get_params of a user's own estimator may raise anything
            pass_on(error)
            return type_name(type(self.model))


def of_estimator(asked: Asked) -> Iterator[tuple[str, str]]:
    """Settings of an estimator in scikit-learn's manner, those of estimators inside it by their own names."""
    yield from _settings(asked.values)


def _label(model: Any, values: Mapping[str, Any]) -> str:
    steps = getattr(model, "steps", None)
    if isinstance(steps, list) and steps and isinstance(steps[-1], tuple) and hasattr(steps[-1][-1], "predict"):
        return _label(steps[-1][-1], _inside(values, *steps[-1]))
    name, own = type_name(type(model)), {key: value for key, value in values.items() if "__" not in key}
    changed = [
        f"{key}={_text(value)}"
        for key, value in own.items()
        if isinstance(value, (str, int, float)) and not is_secret_name(key) and not _is_default(key, value, {"": model})
    ]
    inner = own.get("estimator")
    if hasattr(type(inner), "get_params"):  # a search, a calibration, an ensemble of one kind
        changed.insert(0, _label(inner, _inside(values, "estimator", inner)))
    while len(", ".join(changed)) > _MOST_IN_LABEL:
        changed.pop()
    return f"{name}({', '.join(changed)})" if changed else name


def _inside(values: Mapping[str, Any], name: str, model: Any) -> Mapping[str, Any]:
    """Return the settings of an estimator inside another, of which the other told already."""
    start = f"{name}__"
    found = {key.removeprefix(start): value for key, value in values.items() if key.startswith(start)}
    return found or _values_of(model)


def _values_of(model: Any) -> dict[str, Any]:
    try:
        values: dict[str, Any] = model.get_params(deep=True)
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


def of_xgboost(asked: Asked) -> Iterator[tuple[str, str]]:
    """Settings of a trained booster: what XGBoost saves as text."""
    booster = asked.model
    learner = json.loads(booster.save_config())["learner"]
    yield "booster", str(learner["learner_train_param"]["booster"])
    yield "objective", str(learner["learner_train_param"]["objective"])
    yield from _settings(learner["gradient_booster"].get("tree_train_param", {}))
    yield "num_boosted_rounds", str(booster.num_boosted_rounds())


def of_lightgbm(asked: Asked) -> Iterator[tuple[str, str]]:
    """Settings that a LightGBM booster was trained with."""
    booster = asked.model
    yield from _settings(booster.params)
    yield "num_trees", str(booster.num_trees())


def of_torch(asked: Asked) -> Iterator[tuple[str, str]]:
    """Size of a network."""
    module = asked.model
    parameters = list(module.parameters())
    yield "type", type_name(type(module))
    yield "num_parameters", str(sum(part.numel() for part in parameters))
    yield "num_trainable", str(sum(part.numel() for part in parameters if part.requires_grad))


def of_keras(asked: Asked) -> Iterator[tuple[str, str]]:
    """Size of a network, and how it is trained."""
    model = asked.model
    yield "type", type_name(type(model))
    yield "num_parameters", str(model.count_params())
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        yield from ((f"optimizer.{name}", text) for name, text in _settings(optimizer.get_config()))


def of_statsmodels(asked: Asked) -> Iterator[tuple[str, str]]:
    """What a statistical model was estimated with."""
    model = asked.model.model
    yield "type", type_name(type(model))
    for name in ("formula", "nobs", "order", "seasonal_order", "trend"):
        value = getattr(model, name, None)
        if value is not None:
            yield name, _text(value)


def of_prophet(asked: Asked) -> Iterator[tuple[str, str]]:
    """What a forecast was set up with, the seasonalities and regressors that were added included."""
    model = asked.model
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


def of_pipeline(asked: Asked) -> Iterator[tuple[str, str]]:
    """Task and model of a transformers pipeline."""
    pipeline = asked.model
    yield "task", str(pipeline.task)
    yield "model", str(getattr(pipeline.model, "name_or_path", type_name(type(pipeline.model))))


def of_onnx(asked: Asked) -> Iterator[tuple[str, str]]:
    """Who exported a network to ONNX, with which operators, and its size."""
    model = asked.model
    if model.producer_name:
        yield "producer", f"{model.producer_name} {model.producer_version}".strip()
    yield "opsets", as_json({each.domain or "ai.onnx": each.version for each in model.opset_import})
    yield "num_nodes", str(len(model.graph.node))
