"""Models: which value is one (what can predict), the MLflow flavor that can save it, and its hyper-parameters."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeAlias

from flowml import options, records
from flowml.describe import markers
from flowml.describe.dispatch import Describer, by_structure, find, register, register_abstract, register_lazy
from flowml.describe.place import Place
from flowml.describe.text import type_name, typed
from flowml.describe.types import hyperparameters, read_models
from flowml.describe.types.hyperparameters import Asked
from flowml.errors import pass_on
from flowml.storable import file_name

_DECIMAL = re.compile(r"\d+\.\d+")
_HyperParameters: TypeAlias = Callable[[Asked], Iterable[tuple[str, str]]]


class _Family:
    """The describer of one library's models."""

    def __init__(
        self,
        flavor: str,
        settings: _HyperParameters = hyperparameters.none,
        is_fitted: Callable[[Any], bool] = lambda _: True,
        predicts: Callable[[Any], bool] = lambda _: True,
    ) -> None:
        self.flavor = flavor
        self.settings = settings
        self.is_fitted = is_fitted
        self.predicts = predicts

    def __call__(self, value: Any, place: Place) -> Iterator[records.Record]:
        if read := read_models.describe(value, place):
            yield from read
            return
        asked = Asked(value)
        if place.role == "input":
            yield records.Param(place.label, asked.label())
            yield from self.params(asked, place, is_model=False)
            yield records.ModelInput(place.name, value)
            return
        is_model = False
        if not self.is_fitted(value):
            yield records.Param(place.label, f"{asked.label()} (not fitted)")
        elif place.models == "auto" and self.predicts(value):
            is_model = True
            yield records.Model(_name_of(asked, place), value, self.flavor, dict(place.inputs))
        else:  # a scaler, for one: of use inside what predicts, and a second to save
            yield records.Param(place.label, type_name(type(value)))
        yield from self.params(asked, place, is_model=is_model)

    def params(self, asked: Asked, place: Place, *, is_model: bool) -> Iterator[records.Record]:
        """Give the hyper-parameters; a model which cannot tell them is logged all the same."""
        below = replace(place, prefix=place.name)
        shown: dict[str, str] = {}
        defaults: frozenset[str] = frozenset()
        try:
            if place.model_params == "changed" and self.settings is hyperparameters.of_estimator:
                defaults = asked.defaults()
            for name, text in self.settings(asked):
                if not hyperparameters.is_shown(name, text):
                    if place.hidden:
                        place.hidden.note(below.key(name))
                    continue
                shown[name] = text
                if name not in defaults:
                    yield records.Param(below.key(name), text)
        except BaseException as error:  # noqa: BLE001 - get_params of a user's own estimator may raise anything
            pass_on(error)
            return
        if is_model and not defaults.isdisjoint(shown):
            yield records.Text(f"model_params/{file_name(place.name)}.json", json.dumps(shown, indent=2))


def _name_of(asked: Asked, place: Place) -> str:
    """Name a logged model: as its marker or its place in what was returned says, else as what it is."""
    if not place.returned or inspect.isroutine(asked.model):
        return place.name
    # MLflow takes no dots in the name: 0.1 is 1e-1.
    return _DECIMAL.sub(lambda found: _without_point(found[0]), asked.label())


def _without_point(number: str) -> str:
    _, digits, exponent = Decimal(number).normalize().as_tuple()
    whole = "".join(map(str, digits))
    return f"{whole}e{exponent}" if exponent else whole


_OWN = _Family("sklearn", hyperparameters.of_estimator)


def marked(value: Any, place: Place) -> list[records.Record] | None:
    """Describe a value that the user says is a model; None when MLflow has no way to save it."""
    describer = find(type(value))
    family = describer if isinstance(describer, _Family) else _guessed(value)
    if family is None:
        return None
    if place.role == "input":
        return list(family(value, place))
    marker = place.marker if isinstance(place.marker, options.Model) else options.Model()
    asked = Asked(value)
    model = records.Model(
        _name_of(asked, place),
        value,
        family.flavor,
        dict(place.inputs),
        marker.register,
        marker.alias,
        tuple(marker.trust),
        is_named=bool(marker.name),
    )
    return [model, *family.params(asked, place, is_model=True)]


def _guessed(value: Any) -> _Family | None:
    """Guess how a value of an unknown type can be saved: by what it can do."""
    if hasattr(type(value), "predict") or hasattr(type(value), "transform"):
        return _OWN
    return _Family("pyfunc") if inspect.isroutine(value) else None


def _estimator_like(value: Any, place: Place) -> Iterator[records.Record]:
    """An estimator of no known library: its settings, as nothing says how to save it."""
    if read := read_models.describe(value, place):
        yield from read
        return
    yield records.Param(place.label, typed(value))
    yield from _OWN.params(Asked(value), place, is_model=False)
    if place.role == "input":
        yield records.ModelInput(place.name, value)


def _loaded_model(value: Any, place: Place) -> Iterator[records.Record]:
    """A model that MLflow loaded: logged already, where it comes from."""
    if read := read_models.describe(value, place):
        yield from read
        return
    metadata = getattr(value, "metadata", None)
    yield records.Param(place.label, f"{type_name(type(value))} of run {getattr(metadata, 'run_id', None)}")
    if place.role == "input":
        yield records.ModelInput(place.name, value)


def _sklearn_is_fitted(value: Any) -> bool:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(value)
    except (NotFittedError, TypeError):
        return False
    except BaseException as error:  # noqa: BLE001 - the check asks the user's class: go by the names that fitting sets
        pass_on(error)
        return any(name.endswith("_") and not name.startswith("_") for name in vars(value))
    return True


def _registers(describer: Describer, *names: str) -> Callable[[], None]:
    """Make what registers types, given by module and name; they were imported before, or none of them could be met."""

    def load() -> None:
        for name in names:
            module, _, kind = name.rpartition(".")
            found = getattr(sys.modules.get(module), kind, None)
            if isinstance(found, type):
                register(found, describer)

    return load


def _estimator(flavor: str) -> _Family:
    return _Family(flavor, hyperparameters.of_estimator, _sklearn_is_fitted, _can_predict)


def _can_predict(value: Any) -> bool:
    """Ask the object, not its class: a pipeline can what its last step can, a search what it searched for can."""
    try:
        return callable(getattr(value, "predict", None))
    except BaseException as error:  # noqa: BLE001 - a property of the user's own may raise anything
        pass_on(error)
        return False


_FAMILIES: Mapping[str, tuple[Describer, tuple[str, ...]]] = {
    "sklearn.base": (_estimator("sklearn"), ("sklearn.base.BaseEstimator",)),
    "xgboost.sklearn": (_estimator("xgboost"), ("xgboost.sklearn.XGBModel",)),
    "xgboost.core": (_Family("xgboost", hyperparameters.of_xgboost), ("xgboost.core.Booster",)),
    "lightgbm.sklearn": (_estimator("lightgbm"), ("lightgbm.sklearn.LGBMModel",)),
    "lightgbm.basic": (_Family("lightgbm", hyperparameters.of_lightgbm), ("lightgbm.basic.Booster",)),
    "catboost.core": (
        _Family("catboost", hyperparameters.of_estimator, lambda model: bool(model.is_fitted())),
        ("catboost.core.CatBoost",),
    ),
    "torch.nn.modules.module": (_Family("pytorch", hyperparameters.of_torch), ("torch.nn.modules.module.Module",)),
    "keras": (
        _Family("keras", hyperparameters.of_keras),
        ("keras.src.models.model.Model", "keras.src.engine.training.Model"),
    ),
    "statsmodels": (
        _Family("statsmodels", hyperparameters.of_statsmodels),
        ("statsmodels.base.wrapper.ResultsWrapper", "statsmodels.base.model.Results"),
    ),
    "prophet.forecaster": (
        _Family("prophet", hyperparameters.of_prophet, lambda model: model.history is not None),
        ("prophet.forecaster.Prophet",),
    ),
    "transformers.pipelines.base": (
        _Family("transformers", hyperparameters.of_pipeline),
        ("transformers.pipelines.base.Pipeline",),
    ),
    "onnx": (_Family("onnx", hyperparameters.of_onnx), ("onnx.onnx_ml_pb2.ModelProto",)),
    "mlflow.pyfunc.model": (_Family("pyfunc"), ("mlflow.pyfunc.model.PythonModel",)),
    "mlflow.pyfunc": (_loaded_model, ("mlflow.pyfunc.PyFuncModel",)),
}


def _is_estimator_like(kind: type) -> bool:
    return all(callable(getattr(kind, name, None)) for name in ("fit", "predict"))


def register_all() -> None:
    """Register each library's models for when they are met, and what a value is that is marked as one."""
    markers.register(options.Model, marked)
    for package, (describer, names) in _FAMILIES.items():
        by_structure.add(describer)
        register_lazy(package, _registers(describer, *names))
    register_abstract(_is_estimator_like, _estimator_like)
