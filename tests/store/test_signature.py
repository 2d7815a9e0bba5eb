from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pytest
import xgboost
from sklearn import datasets, linear_model, pipeline, preprocessing
from sklearn.feature_extraction.text import TfidfVectorizer

from flowml.store.models.signature import describe_interface

FRAME = pd.DataFrame(
    {
        "age": pd.array(range(40), dtype="int64"),
        "target": np.arange(40) % 2,
        "income": np.linspace(1, 2, 40),
        "group": np.arange(40, dtype="int32") % 3,
    }
)
FEATURES = ["income", "age", "group"]


@pytest.fixture
def model():
    """A classifier fitted on three columns of the frame, in another order than the frame's."""
    return linear_model.LogisticRegression().fit(FRAME[FEATURES], FRAME["target"])


def described(model, inputs, flavor="sklearn"):
    """The signature's column names and the example."""
    signature, example, _ = describe_interface(model, flavor, inputs)
    return (signature.inputs.input_names() if signature else None), example


class Split(NamedTuple):
    """What a split task may return."""

    train: pd.DataFrame
    test: pd.DataFrame


@dataclasses.dataclass
class Data:
    """What a load task may return."""

    name: str
    frame: pd.DataFrame


@pytest.mark.parametrize(
    "inputs",
    [
        {"df": FRAME},
        {"X": FRAME[FEATURES], "y": FRAME["target"]},
        {"split": Split(FRAME.head(30), FRAME.tail(10))},
        {"pair": (FRAME.head(30), 3)},
        {"data": Data("people", FRAME)},
        {"tables": {"people": FRAME}},
        {"df": pl.from_pandas(FRAME)},
        {"noise": np.eye(3), "wide": FRAME.assign(more=1), "df": FRAME[FEATURES]},
    ],
    ids=["frame", "features", "namedtuple", "tuple", "dataclass", "dict", "polars", "among others"],
)
def test_the_example_has_the_fitted_columns_in_their_order(model, inputs):
    """Wherever the frame is among the inputs, the example is 5 rows of the model's columns, never the target."""
    names, example = described(model, inputs)
    assert names == FEATURES
    assert example.columns.tolist() == FEATURES
    assert example.to_numpy().tolist() == FRAME[FEATURES].head(5).to_numpy().tolist()


def test_a_frame_of_exactly_the_features_comes_before_a_wider_one(model):
    """The frame that the model was fitted on is preferred to one which merely contains its columns."""
    fitted_on = FRAME[FEATURES].tail(10)
    _, example = described(model, {"raw": FRAME, "X": fitted_on})
    assert example.index.tolist() == fitted_on.index.tolist()[:5]


def test_types_that_the_model_keeps_are_kept():
    """XGBoost knows that it was fitted on integers, so they are; without MLflow's warning about missing values."""
    model = xgboost.XGBClassifier(n_estimators=2).fit(FRAME[FEATURES], FRAME["target"])
    signature, _, notes = describe_interface(model, "xgboost", {"df": FRAME})
    assert [kind.name for kind in signature.inputs.input_types()] == ["double", "long", "long"]
    assert signature.outputs is not None
    assert not notes


def test_types_that_the_model_does_not_keep_are_any(model):
    """Integers may have been scaled before the fit, under the same names; MLflow has no type for both."""
    signature, _, notes = describe_interface(model, "sklearn", {"df": FRAME})
    assert [str(kind) for kind in signature.inputs.input_types()] == ["DataType.double", "Any", "Any"]
    [note] = notes
    assert note.startswith("columns of any type: age, group;")


def test_text_and_missing_values_are_described(fit):
    """Columns of text and of numbers with gaps get their types; a gap beyond the example makes a column optional."""
    frame = pd.DataFrame({"a": [1.5, 2.0, 3.0] * 3 + [None] * 3, "b": ["x", "y", "z"] * 4})
    encoder = preprocessing.OrdinalEncoder().set_output(transform="pandas").fit(frame)
    signature, *_ = describe_interface(encoder, "sklearn", {"df": frame})
    assert [(spec.name, spec.type.name, spec.required) for spec in signature.inputs.inputs] == [
        ("a", "double", False),
        ("b", "string", True),
    ]


def test_an_array_of_the_right_width_serves_a_model_without_names():
    """A model fitted on an array is described as a tensor of that width."""
    X, y = FRAME[FEATURES].to_numpy(), FRAME["target"].to_numpy()
    model = linear_model.LogisticRegression().fit(X, y)
    signature, example, _ = describe_interface(model, "sklearn", {"noise": np.eye(7), "X": X, "y": y})
    assert signature.inputs.is_tensor_spec()
    assert signature.inputs.inputs[0].shape == (-1, 3)
    assert example.tolist() == X[:5].tolist()


def test_a_model_of_other_columns_gets_no_example(model):
    """A frame without the model's columns is not mistaken for its data; the names that the model keeps are told."""
    other = FRAME[FEATURES].set_axis(["p", "q", "r"], axis=1)
    signature, example, _ = describe_interface(model, "sklearn", {"other": other})
    assert example is None
    assert signature.inputs.input_names() == FEATURES
    assert {str(kind) for kind in signature.inputs.input_types()} == {"Any"}


def test_a_model_that_selects_columns_itself_is_not_signed_blindly(fit):
    """A column transformer may want text: without its frame there is no signature rather than a wrong one."""
    signature, example, [note] = describe_interface(fit("mixed pipeline").model, "sklearn", {})
    assert (signature, example) == (None, None)
    assert note == "no signature: none of the task's inputs is a table with its columns"


def test_a_text_model_gets_no_signature():
    """A model of raw text knows neither names nor a number of features."""
    texts = ["good", "bad", "good day", "bad day"]
    model = pipeline.make_pipeline(TfidfVectorizer(), linear_model.LogisticRegression()).fit(texts, [1, 0, 1, 0])
    signature, example, _ = describe_interface(model, "sklearn", {"texts": texts})
    assert (signature, example) == (None, None)


@pytest.mark.parametrize(
    "name",
    ["xgboost booster", "xgboost classifier", "lightgbm booster", "lightgbm classifier", "catboost classifier"],
)
def test_boosted_trees_name_their_columns_and_predict_the_example(fit, name):
    """Each boosting library's own way of naming features is understood, also where it alters the names."""
    fitted = fit(name)
    signature, example, _ = describe_interface(fitted.model, fitted.flavor, fitted.inputs)
    assert example.columns.tolist() == fitted.data.columns.tolist()
    assert signature.inputs.input_names() == fitted.data.columns.tolist()
    assert signature.outputs is not None


def test_a_booster_without_names_takes_the_array():
    """An XGBoost booster trained on an array is described by the array among the inputs."""
    X = datasets.load_iris().data
    booster = xgboost.train({}, xgboost.DMatrix(X, X[:, 0]), 2)
    signature, example, _ = describe_interface(booster, "xgboost", {"X": X})
    assert example.shape == (5, 4)
    assert signature.outputs is not None


def test_statsmodels_keeps_its_own_design(fit):
    """An OLS model asks for its design matrix with the constant, which is not in the task's own frame."""
    fitted = fit("least squares")
    signature, *_ = describe_interface(fitted.model, "statsmodels", fitted.inputs)
    assert signature.inputs.input_names() == fitted.data.columns.tolist()
    assert signature.inputs.input_names()[0] == "const"
    assert [spec.name for spec in signature.outputs] == [None]


def test_a_formula_asks_for_the_raw_columns(fit):
    """A formula model asks for the columns on its right side, not for the expanded design or the target."""
    fitted = fit("least squares by formula")
    assert described(fitted.model, fitted.inputs, "statsmodels")[0] == ["size", "city"]


def test_a_python_model_is_not_called(fit):
    """A Python model's predict may do anything, so it is not run for the sake of a signature."""
    fitted = fit("python model")
    fitted.model.predict = None
    assert describe_interface(fitted.model, "pyfunc", {"df": FRAME}) == (None, None, ())


def test_a_model_that_cannot_predict_the_example_is_signed_without_outputs():
    """When predicting fails the signature still says which columns go in."""
    scaler = preprocessing.StandardScaler().fit(FRAME[FEATURES])
    signature, *_ = describe_interface(scaler, "sklearn", {"df": FRAME})
    assert signature.inputs.input_names() == FEATURES
    assert signature.outputs is None


def test_only_a_few_rows_are_predicted():
    """The whole data is never predicted, nor copied."""
    seen = []

    class Counting(linear_model.LinearRegression):
        def predict(self, X):
            seen.append(len(X))
            return super().predict(X)

    model = Counting().fit(FRAME[FEATURES], FRAME["target"])
    describe_interface(model, "sklearn", {"df": FRAME})
    assert set(seen) == {5}


def test_a_torch_module_is_run_on_its_tensor_and_left_in_its_mode():
    """A torch module is described by a float tensor among the inputs and keeps its training mode."""
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Dropout()).train()
    signature, example, _ = describe_interface(module, "pytorch", {"labels": torch.zeros(9, 1), "X": torch.ones(9, 4)})
    assert example.shape == (5, 4)
    assert signature.outputs.inputs[0].shape == (-1, 2)
    assert module[1].training


def test_a_torch_module_of_numbered_words_is_signed_by_them():
    """Integers are given to a module as they are, not as the floats that other modules take."""
    torch = pytest.importorskip("torch")
    inputs = {"weights": torch.ones(9, 7), "words": torch.ones(9, 4, dtype=torch.int64)}
    signature, example, _ = describe_interface(torch.nn.Embedding(3, 2), "pytorch", inputs)
    assert example.dtype == "int64"
    assert signature.outputs.inputs[0].shape == (-1, 4, 2)


def test_a_torch_module_is_given_numbers_of_its_own_precision():
    """NumPy's doubles become single floats only for a module that calculates in these."""
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.float64):
        _, example, _ = describe_interface(torch.nn.Linear(4, 2, dtype=dtype), "pytorch", {"X": np.ones((9, 4))})
        assert f"torch.{example.dtype}" == str(dtype)


def test_the_tensors_behind_a_data_loader_are_found():
    """What a training loop loads batches from is looked at without drawing a batch."""
    data = pytest.importorskip("torch.utils.data")
    import torch

    def refuse(_):
        pytest.fail("a batch was drawn")

    whole = data.TensorDataset(torch.ones(9, 4), torch.zeros(9, 1))
    loader = data.DataLoader(data.Subset(whole, range(6)), batch_size=3, collate_fn=refuse)
    _, example, _ = describe_interface(torch.nn.Linear(4, 1), "pytorch", {"batches": loader})
    assert example.shape == (5, 4)


def test_tensors_that_numpy_has_no_like_of_are_passed_over():
    """Half floats of torch's own and sparse tensors do not keep a model from being described."""
    torch = pytest.importorskip("torch")
    inputs = {"a": torch.ones(9, 4, dtype=torch.bfloat16), "b": torch.eye(4).to_sparse(), "c": torch.ones(9, 4)}
    _, example, _ = describe_interface(torch.nn.Linear(4, 1), "pytorch", inputs)
    assert example.shape == (5, 4)


@pytest.mark.slow
def test_a_forecast_asks_for_the_columns_it_predicts_from(fit):
    """A forecast is described by its days and bounds, never the value that it foretells."""
    fitted = fit("forecast")
    names, example = described(fitted.model, fitted.inputs, "prophet")
    assert names == ["ds", "cap"]
    assert example.columns.tolist() == names


def test_a_forecast_keeps_its_days(fit):
    """When the task made the columns itself, the example is from what the model was fitted on."""
    fitted = fit("forecast")
    names, example = described(fitted.model, {"raw": fitted.data.set_axis(["day", "sold", "most"], axis=1)}, "prophet")
    assert names == ["ds", "cap"]
    assert len(example) == 5
