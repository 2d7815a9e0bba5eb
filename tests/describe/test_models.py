"""Models: known by their type, with flavor, hyper-parameters and what they were trained on."""

from __future__ import annotations

import json
from typing import Annotated, Optional

import catboost
import lightgbm
import numpy as np
import pandas as pd
import prophet
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
import xgboost
from sklearn.base import BaseEstimator
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from flowml import describe, options, records

RNG = np.random.default_rng(0)
X = RNG.random((40, 3))
Y = (X[:, 0] > 0.5).astype(int)


def models(found) -> list[records.Model]:
    """Give the models."""
    return [r for r in found if isinstance(r, records.Model)]


def params(found) -> dict[str, str]:
    """Give the parameters."""
    return {r.key: r.value for r in found if isinstance(r, records.Param)}


def forecast() -> prophet.Prophet:
    """Set up a forecast that knows Norway's holidays and the months."""
    model = prophet.Prophet(changepoint_prior_scale=0.1, uncertainty_samples=0)
    model.add_country_holidays("NO")
    return model.add_seasonality("monthly", period=30.5, fourier_order=2)


class Rounding(StandardScaler):
    """A transformer of the user's own that can predict."""

    def predict(self, X):
        """Round."""
        return self.transform(X).round()


MODELS = {
    "logistic regression": ("sklearn", lambda: LogisticRegression(C=2.0).fit(X, Y), {"fit.C": "2.0"}),
    "forest": ("sklearn", lambda: RandomForestClassifier(n_estimators=3).fit(X, Y), {"fit.n_estimators": "3"}),
    "clusterer": ("sklearn", lambda: KMeans(2, n_init=1).fit(X), {"fit.n_clusters": "2"}),
    "nested pipeline": (
        "sklearn",
        lambda: make_pipeline(StandardScaler(), make_pipeline(PCA(2), LogisticRegression())).fit(X, Y),
        {"fit.pipeline__pca__n_components": "2"},
    ),
    "transformer that predicts": ("sklearn", lambda: Rounding().fit(X), {"fit.with_mean": "True"}),
    "pipeline": (
        "sklearn",
        lambda: make_pipeline(StandardScaler(), LogisticRegression(C=3.0)).fit(X, Y),
        {"fit.logisticregression__C": "3.0"},
    ),
    "grid search": (
        "sklearn",
        lambda: GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2).fit(X, Y),
        {"fit.param_grid": '{"C": [0.1, 1.0]}', "fit.estimator__C": "1.0"},
    ),
    "xgboost estimator": (
        "xgboost",
        lambda: xgboost.XGBClassifier(n_estimators=2).fit(X, Y),
        {"fit.n_estimators": "2"},
    ),
    "xgboost booster": (
        "xgboost",
        lambda: xgboost.train({"max_depth": 2}, xgboost.DMatrix(X, Y), 2),
        {"fit.max_depth": "2", "fit.num_boosted_rounds": "2"},
    ),
    "lightgbm estimator": (
        "lightgbm",
        lambda: lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(X, Y),
        {"fit.n_estimators": "2"},
    ),
    "lightgbm booster": (
        "lightgbm",
        lambda: lightgbm.train({"num_leaves": 4, "verbose": -1}, lightgbm.Dataset(X, Y), 2),
        {"fit.num_leaves": "4"},
    ),
    "catboost": (
        "catboost",
        lambda: catboost.CatBoostClassifier(iterations=2, verbose=0, allow_writing_files=False).fit(X, Y),
        {"fit.iterations": "2"},
    ),
    "statsmodels": ("statsmodels", lambda: sm.OLS(Y, X).fit(), {"fit.type": "OLS", "fit.nobs": "40.0"}),
    "statsmodels formula": (
        "statsmodels",
        lambda: smf.ols("y ~ x", pd.DataFrame({"x": X[:, 0], "y": Y})).fit(),
        {"fit.formula": "y ~ x"},
    ),
    "forecast": (
        "prophet",
        lambda: forecast().fit(pd.DataFrame({"ds": pd.date_range("2025-01-01", periods=40), "y": X[:, 0]})),
        {
            "fit.changepoint_prior_scale": "0.1",
            "fit.growth": "linear",
            "fit.country_holidays": "NO",
            "fit.seasonalities": '["monthly", "weekly"]',
        },
    ),
}


@pytest.mark.parametrize("flavor, make, expected", MODELS.values(), ids=MODELS.keys())
def test_a_fitted_model_is_logged_with_its_flavor_and_hyper_parameters(flavor, make, expected):
    """As an output it is a model that knows what it was trained on; as an input its settings and a link."""
    value = make()
    found = describe.outputs(value, "fit", None, {"X": X})
    [model] = models(found)
    assert model.value is value
    assert model.flavor == flavor
    assert model.inputs["X"] is X
    assert expected.items() <= params(found).items()

    given = describe.inputs({"fit": value}, {})
    assert not models(given)
    assert [r.value for r in given if isinstance(r, records.ModelInput)] == [value]
    assert expected.items() <= params(given).items()


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(C=0.5),
        make_pipeline(LogisticRegression()),
        StandardScaler(),
        xgboost.XGBClassifier(),
        lightgbm.LGBMRegressor(),
        catboost.CatBoost(),
        prophet.Prophet(),
    ],
    ids=lambda e: type(e).__name__,
)
def test_an_unfitted_estimator_is_no_model(estimator):
    """Only its settings are logged."""
    found = describe.outputs(estimator, "make")
    assert not models(found)
    kind = type(estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator)
    assert params(found)["return"].startswith(kind.__name__)
    assert params(found)["return"].endswith(" (not fitted)")


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: LogisticRegression().fit(X, Y), "LogisticRegression"),
        (lambda: LogisticRegression(C=0.1, max_iter=2000).fit(X, Y), "LogisticRegression(C=1e-1, max_iter=2000)"),
        (lambda: LogisticRegression(C=2.50, solver="saga").fit(X, Y), "LogisticRegression(C=25e-1, solver=saga)"),
        (lambda: make_pipeline(PCA(2), LogisticRegression(C=3.0)).fit(X, Y), "LogisticRegression(C=3)"),
        (
            lambda: GridSearchCV(LogisticRegression(C=2.0), {"C": [1]}, cv=2).fit(X, Y),
            "GridSearchCV(LogisticRegression(C=2), cv=2)",
        ),
        (lambda: xgboost.XGBClassifier(n_estimators=2).fit(X, Y), "XGBClassifier(n_estimators=2)"),
        (MODELS["statsmodels"][1], "RegressionResultsWrapper"),
    ],
)
def test_a_returned_model_is_named_by_what_it_is(make, name):
    """By its type and the settings that are not its class's; MLflow takes no point in the name. An own name stays."""
    value = make()
    assert [model.name for model in models(describe.outputs(value, "fit"))] == [name]
    assert [model.name for model in models(describe.outputs({"clf": value}, "fit"))] == ["clf"]
    marker = options.Model("champion")
    assert [model.name for model in models(describe.outputs(value, "fit", Annotated[object, marker]))] == ["champion"]


def test_settings_that_are_the_defaults_are_in_a_file():
    """With ``model_params="changed"`` what differs from the class is a parameter, and the file has all of a model's."""
    value = make_pipeline(StandardScaler(), LogisticRegression(C=3.0)).fit(X, Y)
    found = describe.outputs(value, "fit", model_params="changed")
    assert params(found) == {"fit.logisticregression__C": "3.0"}
    [file] = [record for record in found if isinstance(record, records.Text)]
    assert file.path == "model_params/fit.json"
    assert json.loads(file.text).items() >= {"logisticregression__C": "3.0", "standardscaler__copy": "True"}.items()
    given = describe.inputs({"model": value}, {}, model_params="changed")
    assert params(given) == {"model": "LogisticRegression(C=3.0)", "model.logisticregression__C": "3.0"}


PREPARING = {
    "scaler": (lambda: StandardScaler(with_mean=False).fit(X), {"fit.with_mean": "False"}),
    "encoder": (lambda: OneHotEncoder(min_frequency=2).fit(X), {"fit.min_frequency": "2"}),
    "vectorizer": (lambda: TfidfVectorizer(min_df=1).fit(["a word"]), {"fit.min_df": "1"}),
    "selector": (lambda: SelectKBest(k=1).fit(X, Y), {"fit.k": "1"}),
    "pca": (lambda: PCA(2).fit(X), {"fit.n_components": "2"}),
    "columns": (lambda: make_column_transformer((PCA(1), [0, 1])).fit(X), {"fit.pca__n_components": "1"}),
    "pipeline": (lambda: make_pipeline(StandardScaler(), PCA(2)).fit(X), {"fit.pca__n_components": "2"}),
    "pipeline in a pipeline": (
        lambda: make_pipeline(PCA(2), make_pipeline(StandardScaler())).fit(X),
        {"fit.pca__n_components": "2"},
    ),
    "pipeline that ends in nothing": (
        lambda: Pipeline([("pca", PCA(2)), ("end", "passthrough")]).fit(X),
        {"fit.pca__n_components": "2"},
    ),
    "search for a transformer": (
        lambda: GridSearchCV(KernelDensity(), {"bandwidth": [0.5, 1.0]}, cv=2).fit(X),
        {"fit.param_grid": '{"bandwidth": [0.5, 1.0]}'},
    ),
    "clusterer of what it was fitted on": (lambda: DBSCAN(eps=0.25).fit(X), {"fit.eps": "0.25"}),
}


@pytest.mark.parametrize("make, expected", PREPARING.values(), ids=PREPARING.keys())
def test_what_cannot_predict_is_a_model_only_when_marked(make, expected):
    """By itself it is its type and hyper-parameters; with the marker it is saved, as an input it is linked."""
    value = make()
    found = describe.outputs(value, "fit")
    assert not models(found)
    assert {"return": type(value).__name__, **expected}.items() <= params(found).items()
    assert not models(describe.outputs((value, 0.5), "fit"))
    assert not models(describe.outputs({"prepare": value}, "fit"))
    assert not models(describe.named({"prepare": value}))

    marker = options.Model("prepare", register="prepare")
    for hint, given in ((Annotated[object, marker], value), (tuple[Annotated[object, marker], float], (value, 0.5))):
        [model] = models(describe.outputs(given, "fit", hint))
        assert (model.name, model.flavor, model.register) == ("prepare", "sklearn", "prepare")

    given = describe.inputs({"fit": value}, {})
    assert [r.value for r in given if isinstance(r, records.ModelInput)] == [value]
    assert params(given)["fit"].startswith(type(value).__name__)
    assert expected.items() <= params(given).items()


def test_a_transformer_of_no_known_library_is_a_model_when_marked():
    """What transforms but is no estimator of scikit-learn is saved as one of its own, if its author says so."""

    class Clip:
        def transform(self, X):
            return X

    assert not models(describe.outputs(Clip(), "fit"))
    [model] = models(describe.outputs(Clip(), "fit", Annotated[Clip, options.Model()]))
    assert model.flavor == "sklearn"


def test_an_estimator_that_raises_when_it_is_asked_is_no_model():
    """A property of the user's own that fails costs neither the type nor the settings."""

    class Moody(BaseEstimator):
        def __init__(self, C=1.0):
            self.C = C

        def fit(self, _X):
            return self

        def __sklearn_is_fitted__(self):
            return True

        @property
        def predict(self):
            raise ValueError

    assert params(describe.outputs(Moody(), "fit")) == {"return": "Moody", "fit.C": "1.0"}


@pytest.mark.parametrize("make", [each[1] for each in MODELS.values()], ids=MODELS.keys())
def test_where_only_marked_models_are_wanted_others_are_settings(make):
    """``models="marked"`` leaves what has no marker its type and hyper-parameters, in tuples and by name too."""
    value = make()
    found = describe.outputs(value, "fit", models="marked")
    assert not models(found)
    assert params(found)["return"] == type(value).__name__
    assert len(params(found)) > 1
    assert not models(describe.outputs({"a": (value, 0.5)}, "fit", models="marked"))
    assert not models(describe.named({"model": value}, models="marked"))
    hint = tuple[Annotated[object, options.Model("clf")], float]
    assert [model.name for model in models(describe.outputs((value, 0.5), "fit", hint, models="marked"))] == ["clf"]


def test_estimators_inside_an_estimator_are_settings_by_name_only():
    """No parameter holds the repr of another estimator."""
    found = params(describe.outputs(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y), "fit"))
    assert "fit.steps" not in found
    assert "fit.standardscaler" not in found
    assert found["fit.standardscaler__copy"] == "True"


def test_the_marker_names_and_registers():
    """Model(...) goes into the record, also inside Optional and in a tuple."""
    marker = options.Model("clf", register="churn", alias="challenger", trust=("my.Type",))
    fitted = LogisticRegression().fit(X, Y)
    annotation = Annotated[LogisticRegression, marker]
    for value, hint in [
        (fitted, annotation),
        (fitted, Optional[annotation]),  # noqa: UP045 - the older spelling works as well
        (fitted, annotation | None),
        ((fitted, 0.5), tuple[annotation, float]),
    ]:
        [model] = models(describe.outputs(value, "fit", hint))
        assert (model.name, model.register, model.alias, model.trust) == ("clf", "churn", "challenger", ("my.Type",))


def test_several_models_are_each_described():
    """In a tuple, list or mapping each model is its own, with a name that MLflow accepts."""
    fitted = LogisticRegression().fit(X, Y)
    assert [m.name for m in models(describe.outputs((fitted, fitted), "fit"))] == ["fit-0", "fit-1"]
    assert [m.name for m in models(describe.outputs([fitted, fitted], "fit"))] == ["fit-0", "fit-1"]
    found = describe.outputs({"model": fitted, "accuracy": 0.9}, "fit")
    assert [m.name for m in models(found)] == ["model"]
    assert records.Metric("accuracy", 0.9) in found


@pytest.mark.filterwarnings("ignore")  # MLflow warns when its pyfunc is imported
def test_a_python_model_is_a_pyfunc():
    """MLflow's own model class is saved by its own flavor."""
    import mlflow.pyfunc

    class Doubles(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input):  # noqa: ARG002 - MLflow's names
            return model_input * 2

    [model] = models(describe.outputs(Doubles(), "fit"))
    assert model.flavor == "pyfunc"


def test_an_estimator_of_no_known_library_is_a_model_only_when_marked():
    """What has fit and predict has settings; a marker says that it is to be saved."""

    class Mean:
        def fit(self, _X):
            return self

        def predict(self, X):
            return X

        def get_params(self, deep=True):  # noqa: ARG002, FBT002 - scikit-learn's names
            return {"window": 3}

    found = describe.outputs(Mean(), "fit")
    assert not models(found)
    assert params(found)["fit.window"] == "3"
    [model] = models(describe.outputs(Mean(), "fit", Annotated[Mean, options.Model()]))
    assert model.flavor == "sklearn"


@pytest.mark.parametrize("role", ["input", "output", "marked"])
def test_an_estimator_is_asked_for_its_settings_once(role):
    """Its name, what it has of its class, and its parameters are of one answer: it may hold many others."""
    asked = []

    class Counted(LogisticRegression):
        def get_params(self, deep=True):  # noqa: FBT002 - scikit-learn's names
            asked.append(deep)
            return super().get_params(deep)

    searched = GridSearchCV(make_pipeline(StandardScaler(with_std=False), Counted(C=0.5)), {}, cv=2).fit(X, Y)
    asked.clear()
    if role == "input":
        found = describe.inputs({"fit": searched}, {}, model_params="changed")
    else:
        marker = Annotated[object, options.Model("fit")] if role == "marked" else None
        found = describe.outputs(searched, "fit", marker, model_params="changed")
    assert asked == [True]
    assert params(found)["fit.estimator__counted__C"] == "0.5"
    if role == "output":
        assert models(found)[0].name == "GridSearchCV(Counted(C=5e-1), cv=2)"


def test_an_estimator_with_broken_settings_is_logged_all_the_same():
    """get_params of a user's own class may raise."""

    class Broken(BaseEstimator):
        def __init__(self, *args):  # noqa: ARG002 - what scikit-learn refuses
            self.fitted_ = True

        def fit(self, _X):
            return self

        def predict(self, X):
            return X

    [model] = models(describe.outputs(Broken(), "fit"))
    assert model.flavor == "sklearn"


def test_a_torch_module_is_a_model():
    """Networks are known by their size."""
    torch = pytest.importorskip("torch")
    found = describe.outputs(torch.nn.Linear(2, 3), "fit")
    assert models(found)[0].flavor == "pytorch"
    assert params(found)["fit.num_parameters"] == "9"
