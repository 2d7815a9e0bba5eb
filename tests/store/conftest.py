"""A real MLflow in SQLite, and a fitted model of each kind."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import catboost
import lightgbm
import mlflow
import numpy as np
import pandas as pd
import prophet
import pytest
import sklearn.ensemble as ens
import statsmodels.api as sm
import statsmodels.formula.api as smf
import xgboost
from sklearn import (
    calibration,
    cluster,
    compose,
    datasets,
    decomposition,
    linear_model,
    model_selection,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)

from flowml import records

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of its own type hints when this is imported first
    import mlflow.pyfunc


@pytest.fixture(scope="session")
def client(tmp_path_factory) -> mlflow.MlflowClient:
    """A client of an MLflow in SQLite; making its schema takes seconds, so the tests share it."""
    return mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")


@pytest.fixture
def run(client, tmp_path) -> mlflow.entities.Run:
    """An open run in an experiment of its own."""
    experiment = client.create_experiment(str(tmp_path), artifact_location=(tmp_path / "artifacts").as_uri())
    return client.create_run(experiment)


@pytest.fixture
def global_uri(client) -> Iterator[str]:
    """Point MLflow's global tracking URI at the client's store, as whoever loads a model does."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(client.tracking_uri)
    yield client.tracking_uri
    mlflow.set_tracking_uri(before)


@dataclass
class Fitted:
    """A fitted model as a task would return it, and data to predict."""

    flavor: str
    model: Any
    data: Any
    inputs: dict[str, Any] = field(default_factory=dict)
    predict: Callable[[Any], Any] | None = None
    compared: Callable[[Any], Any] = lambda predicted: predicted  # what of a prediction is the same each time

    def record(self, **options: Any) -> records.Model:
        """What `describe` makes of the model."""
        return records.Model("model", self.model, self.flavor, inputs=self.inputs, **options)

    def expected(self) -> np.ndarray:
        """What the original predicts."""
        return np.asarray(self.compared((self.predict or self.model.predict)(self.data)), dtype=float)


BREAST_CANCER = datasets.load_breast_cancer(as_frame=True)
X = BREAST_CANCER.data.iloc[:150, :8]
y = BREAST_CANCER.target.iloc[:150]
FRAME = X.assign(target=y)
NAMES = list(X.columns)
MIXED = pd.DataFrame({"size": np.linspace(0, 1, 60), "rooms": np.arange(60) % 5, "city": ["Oslo", "Rome", "Lima"] * 20})
MIXED_TARGET = np.arange(60) % 2


def sklearn_model(estimator) -> Fitted:
    """Fit an estimator on columns of the frame that also holds the target."""
    supervised = (X, y) if not isinstance(estimator, cluster.KMeans) else (X,)
    return Fitted("sklearn", estimator.fit(*supervised), X.tail(20), {"frame": FRAME})


def mixed_pipeline() -> Fitted:
    """Fit a pipeline of numbers and categories."""
    columns = compose.make_column_transformer(
        (preprocessing.StandardScaler(), ["size", "rooms"]),
        (preprocessing.OneHotEncoder(handle_unknown="ignore"), ["city"]),
    )
    model = pipeline.make_pipeline(columns, linear_model.LogisticRegression())
    return Fitted("sklearn", model.fit(MIXED, MIXED_TARGET), MIXED.head(9), {"df": MIXED.assign(sold=MIXED_TARGET)})


def xgboost_booster() -> Fitted:
    """Train XGBoost by its native interface."""
    model = xgboost.train({"max_depth": 2}, xgboost.DMatrix(X, y), num_boost_round=3)
    return Fitted("xgboost", model, X.tail(20), {"frame": FRAME}, lambda data: model.predict(xgboost.DMatrix(data)))


def lightgbm_booster() -> Fitted:
    """Train LightGBM by its native interface."""
    model = lightgbm.train({"verbose": -1}, lightgbm.Dataset(X, y), num_boost_round=3)
    return Fitted("lightgbm", model, X.tail(20), {"frame": FRAME})


def catboost_model(kind) -> Fitted:
    """Fit a CatBoost estimator."""
    model = kind(iterations=3, verbose=0, allow_writing_files=False).fit(X, y)
    return Fitted("catboost", model, X.tail(20), {"frame": FRAME})


def least_squares() -> Fitted:
    """Fit by design matrix, with the constant added in the task."""
    design = sm.add_constant(X)
    return Fitted("statsmodels", sm.OLS(y, design).fit(), design.tail(20), {"frame": FRAME})


def least_squares_by_formula() -> Fitted:
    """Fit by formula on raw columns."""
    frame = MIXED.assign(price=MIXED["size"] * 3 + MIXED["rooms"])
    return Fitted("statsmodels", smf.ols("price ~ size + C(city)", frame).fit(), frame.tail(20), {"frame": frame})


def generalized_linear() -> Fitted:
    """Fit by arrays."""
    model = sm.GLM(y.to_numpy(), X.to_numpy(), family=sm.families.Gaussian()).fit()
    return Fitted("statsmodels", model, X.tail(20).to_numpy(), {"X": X.to_numpy(), "y": y.to_numpy()})


@cache  # it compiles and fits for seconds, and nothing changes it
def forecast() -> Fitted:
    """Fit a forecast of a daily series with a bound and a seasonality of its own."""
    days = pd.DataFrame({"ds": pd.date_range("2025-01-01", periods=60), "y": np.arange(60) % 7 + 1.0, "cap": 20.0})
    model = prophet.Prophet(growth="logistic", uncertainty_samples=0, yearly_seasonality=False)
    model.add_seasonality("monthly", period=30.5, fourier_order=2).fit(days)
    return Fitted("prophet", model, days.tail(20), {"days": days}, compared=lambda predicted: predicted["yhat"])


def torch_network() -> Fitted:
    """Train nothing: a network with random weights, still in training mode, as training leaves it."""
    torch = pytest.importorskip("torch")
    layers = torch.nn.Linear(8, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(4, 1)
    network = torch.nn.Sequential(*layers)
    rows = X.to_numpy("float32", copy=True)

    def predict(data):
        with torch.no_grad():
            return copy.deepcopy(network).eval()(torch.from_numpy(data))

    return Fitted("pytorch", network, rows[-20:], {"X": torch.from_numpy(rows)}, predict)


def keras_network() -> Fitted:
    """Fit a network of two layers."""
    keras = pytest.importorskip("keras")
    layers = keras.Input((8,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)
    network = keras.Sequential(layers)
    network.compile("sgd", "mse")
    rows = X.to_numpy("float32")
    network.fit(rows, y.to_numpy("float32"), epochs=1, verbose=0)
    return Fitted("keras", network, rows[-20:], {"X": rows}, lambda data: network.predict(data, verbose=0))


# Classes made inside of functions are pickled by value, as those of a script or notebook are.


def python_model() -> Fitted:
    """Make a Python model whose type hint says no columns."""

    class Doubler(mlflow.pyfunc.PythonModel):
        def predict(self, model_input: np.ndarray):
            return np.asarray(model_input) * 2

    return Fitted("pyfunc", Doubler(), X.tail(20), {"frame": FRAME}, lambda data: data.to_numpy() * 2)


def python_model_with_hints() -> Fitted:
    """Make a Python model that its type hints describe."""

    class Lengths(mlflow.pyfunc.PythonModel):
        def predict(self, model_input: list[str]) -> list[int]:
            return [len(text) for text in model_input]

    return Fitted("pyfunc", Lengths(), ["a", "bcd"], predict=lambda data: [len(text) for text in data])


def python_model_round_a_model() -> Fitted:
    """Wrap a classifier in a Python model, which imports inside its method."""

    class Wrapped(mlflow.pyfunc.PythonModel):
        def __init__(self, model):
            self.model = model

        def predict(self, model_input: pd.DataFrame):
            import scipy.special

            return scipy.special.expit(self.model.decision_function(model_input))

    inner = linear_model.LogisticRegression(max_iter=5000).fit(X, y)
    return Fitted("pyfunc", Wrapped(inner), X.tail(20), {}, lambda data: inner.predict_proba(data)[:, 1])


def onnx_network() -> Fitted:
    """Build a network of one layer, as exporters do."""
    from onnx import TensorProto, helper

    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, [None, 2])
    sums = helper.make_tensor_value_info("sums", TensorProto.FLOAT, [None, 1])
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [2, 1], [1.0, 2.0])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["data", "weights"], ["sums"])], "g", [data], [sums], [weights]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    rows = np.asarray([[1.0, 2.0], [3.0, 4.0]], "float32")
    return Fitted("onnx", model, rows, {}, lambda given: given @ np.asarray([[1.0], [2.0]], "float32"))


def text_pipeline() -> Fitted:
    """Put a tiny network with random weights and a tokenizer of a few words together."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "[PAD]": 1, "good": 2, "bad": 3}, "[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    network = transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=4, **sizes)).eval()
    classify = transformers.pipeline("text-classification", model=network, tokenizer=tokenizer)
    return Fitted(
        "transformers", classify, ["good", "bad"], predict=lambda data: [each["score"] for each in classify(data)]
    )


FITTED: dict[str, Callable[[], Fitted]] = {
    "logistic": lambda: sklearn_model(linear_model.LogisticRegression(max_iter=5000)),
    "ridge": lambda: sklearn_model(linear_model.Ridge()),
    "tree": lambda: sklearn_model(tree.DecisionTreeClassifier()),
    "random forest": lambda: sklearn_model(ens.RandomForestClassifier(5)),
    "gradient boosting": lambda: sklearn_model(ens.GradientBoostingClassifier(n_estimators=5)),
    "hist gradient boosting": lambda: sklearn_model(ens.HistGradientBoostingClassifier(max_iter=5)),
    "hist gradient boosting regressor": lambda: sklearn_model(ens.HistGradientBoostingRegressor(max_iter=5)),
    "k-means": lambda: sklearn_model(cluster.KMeans(3, n_init=1)),
    "support vectors": lambda: sklearn_model(svm.SVC()),
    "neighbours": lambda: sklearn_model(neighbors.KNeighborsClassifier()),
    "perceptron": lambda: sklearn_model(neural_network.MLPClassifier((4,), max_iter=20, tol=1e9)),
    "calibrated": lambda: sklearn_model(calibration.CalibratedClassifierCV(tree.DecisionTreeClassifier(), cv=2)),
    "voting": lambda: sklearn_model(
        ens.VotingRegressor([("a", linear_model.Ridge()), ("b", ens.ExtraTreesRegressor(3))])
    ),
    "stacking": lambda: sklearn_model(
        ens.StackingClassifier([("a", ens.RandomForestClassifier(3)), ("b", tree.DecisionTreeClassifier())], cv=2)
    ),
    "grid search": lambda: sklearn_model(
        model_selection.GridSearchCV(linear_model.Ridge(), {"alpha": [0.1, 1.0]}, cv=2)
    ),
    "pipeline": lambda: sklearn_model(
        pipeline.make_pipeline(preprocessing.StandardScaler(), decomposition.PCA(3), linear_model.LogisticRegression())
    ),
    "mixed pipeline": mixed_pipeline,
    "xgboost in a pipeline": lambda: sklearn_model(
        pipeline.make_pipeline(preprocessing.StandardScaler(), xgboost.XGBClassifier(n_estimators=3))
    ),
    "lightgbm in a pipeline": lambda: sklearn_model(
        pipeline.make_pipeline(
            preprocessing.StandardScaler().set_output(transform="pandas"),
            lightgbm.LGBMClassifier(n_estimators=3, verbose=-1),
        )
    ),
    "xgboost classifier": lambda: Fitted(
        "xgboost", xgboost.XGBClassifier(n_estimators=3).fit(X, y), X.tail(20), {"frame": FRAME}
    ),
    "xgboost booster": xgboost_booster,
    "lightgbm classifier": lambda: Fitted(
        "lightgbm", lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, y), X.tail(20), {"frame": FRAME}
    ),
    "lightgbm booster": lightgbm_booster,
    "catboost classifier": lambda: catboost_model(catboost.CatBoostClassifier),
    "catboost regressor": lambda: catboost_model(catboost.CatBoostRegressor),
    "least squares": least_squares,
    "least squares by formula": least_squares_by_formula,
    "generalized linear": generalized_linear,
    "forecast": forecast,
    "torch network": torch_network,
    "keras network": keras_network,
    "python model": python_model,
    "python model with hints": python_model_with_hints,
    "python model round a model": python_model_round_a_model,
}


WITHOUT_SIGNATURE = {"onnx network": onnx_network, "text pipeline": text_pipeline}


@pytest.fixture
def fit() -> Callable[[str], Fitted]:
    """Fit the model of this name."""
    return lambda name: {**FITTED, **WITHOUT_SIGNATURE}[name]()


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow) if name == "forecast" else name for name in FITTED])
def fitted(request) -> Fitted:
    """A fitted model of each kind in turn."""
    return FITTED[request.param]()


@pytest.fixture(params=[*FITTED, *WITHOUT_SIGNATURE])
def any_model(request, fit) -> Fitted:
    """The same, and those that say nothing of their inputs."""
    return fit(request.param)
