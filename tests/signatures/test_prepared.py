"""What a task is given is often not what it fits a model on."""

from __future__ import annotations

import warnings
from typing import Annotated

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.naive_bayes import MultinomialNB
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from flowml import Model, flow, task
from tests.signatures.conftest import Case, note_in
from tests.signatures.estimators import TARGET, equal, fit
from tests.signatures.kinds import KINDS, frame

RAW = pd.DataFrame(
    {
        "sex": ["m", "f", "f"] * 10,
        "age": [number % 9 + 20 for number in range(30)],
        "member": [True, False, False] * 10,
        "income": np.linspace(1, 2, 30),
        "visits": [np.nan if row in {8, 9} else row % 4 for row in range(30)],
        "sold": TARGET,
    }
)
NUMBERS = ["age", "member", "income"]


def as_codes(raw):
    """Give the encoded and scaled form of a frame, under the names that it has."""
    return raw[["sex", "age"]].assign(sex=(raw["sex"] == "f").astype(int), age=raw["age"] / 20)


def by_frame(transformer):
    """Give what makes a frame with the same names of a frame's numbers."""
    return lambda raw: transformer().set_output(transform="pandas").fit_transform(raw[NUMBERS])


def with_codes(raw):
    """Give texts as the numbers that a task maps them to."""
    return raw[["sex"]].assign(sex=raw["sex"].map({"m": 0, "f": 1}))


PREPARED = {
    "codes for an encoder": (with_codes, "encoded"),
    "codes for ordinals": (with_codes, "ordinal"),
    "encoded by hand": (as_codes, "logistic"),
    "scaled": (by_frame(StandardScaler), "logistic"),
    "filled": (by_frame(SimpleImputer), "lightgbm"),
    "as single floats": (lambda raw: raw[NUMBERS].astype("float32"), "forest"),
    "without the rows with gaps": (lambda raw: raw[["visits", "income"]].dropna().astype({"visits": int}), "logistic"),
    "as categories": (lambda raw: raw[["sex", "age"]].astype({"sex": "category"}), "lightgbm"),
    "as dummies": (lambda raw: pd.get_dummies(raw[["sex", "age"]]), "logistic"),
    "integers scaled to an array": (lambda raw: StandardScaler().fit_transform(raw[["age"]]), "linear"),
}
MORE = {
    "encoded by hand where gaps are allowed": (as_codes, "histogram"),
    "as ordinals": (by_frame(OrdinalEncoder), "xgboost"),
    "as integers": (lambda raw: raw[NUMBERS[:2]].astype("int64"), "linear"),
    "scaled to an array": (lambda raw: StandardScaler().fit_transform(raw[NUMBERS]), "clusters"),
    "to a sparse array": (lambda raw: OneHotEncoder().fit_transform(raw[["sex", "age"]]), "logistic"),
    "to NumPy": (lambda raw: raw[NUMBERS].to_numpy("float64"), "forest"),
    "some columns": (lambda raw: raw[["income", "age"]], "histogram"),
    "with the target": (lambda raw: raw[["income", "sold"]], "clusters"),
}


@pytest.mark.parametrize("prepared", [PREPARED, pytest.param(MORE, marks=pytest.mark.slow)], ids=["most", "more"])
def test_a_model_of_what_the_task_prepared_predicts_that(logged, prepared):
    """A model that the task fitted on something else than it was given refuses nothing of what it was fitted on."""
    models = logged({name: Case(RAW, fit(estimator), seen) for name, (seen, estimator) in prepared.items()})
    refused = {}
    for name, one in models.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the estimators, about what they are fitted on
            try:
                if not equal(one.load().predict(one.seen), one.model.predict(one.seen)):
                    refused[name] = "other predictions"
                one.serve_example()
            except Exception as error:  # noqa: BLE001 - MLflow's, or any library's
                refused[name] = str(error)[-200:]
    assert refused == {}


def test_counted_words_are_not_refused(logged):
    """What a text model's classifier is fitted on are sparse integers, of which the task was given nothing."""
    texts = ["good day", "bad day", "good night"] * 10
    counted = Case(texts, lambda counts: MultinomialNB().fit(counts, TARGET), CountVectorizer().fit_transform)
    one = logged({"words": counted})["words"]
    assert equal(one.load().predict(one.seen), one.model.predict(one.seen))


def test_what_a_scaler_was_fitted_on_fits_its_signature(client):
    """A model that only transforms is signed as well, by what it transforms."""
    given = frame(KINDS["float32"]()["seen"])

    @task(cache_policy=None)
    def fit_scaler(given) -> Annotated[object, Model("scaler")]:
        return StandardScaler().fit(given)

    @flow(name="signatures")
    def main():
        fit_scaler(given)

    main()
    [found] = client.search_logged_models([client.get_experiment_by_name("signatures").experiment_id])
    signature = mlflow.models.get_model_info(found.model_uri).signature
    mlflow.models.validate_schema(given, signature.inputs)
    assert signature.inputs.input_names() == ["seen", "size"]


def test_why_a_model_has_no_signature_stands_on_its_run(client, logged):
    """A model whose columns MLflow would change has no signature, and the run of its task says why."""
    given = frame(pd.Categorical(["red", "green", "blue"] * 10))
    models = logged({"coloured": Case(given, fit("lightgbm")), "plain": Case(frame([1.5] * 30), fit("lightgbm"))})
    tags = [client.get_run(one.run_id).data.tags for one in models.values()]
    assert models["coloured"].load().metadata.signature is None
    assert note_in(tags[0]).startswith("no signature: MLflow changes what it hands to the model of seen (category)")
    assert not any(tag.startswith("flowml.signature") for tag in tags[1])
