from __future__ import annotations

import warnings

import pytest

from tests.signatures.conftest import Case
from tests.signatures.estimators import ESTIMATORS, equal, fit, takes
from tests.signatures.kinds import KINDS

A_DOZEN = [
    ("int64", "linear"),
    ("Int64 with gaps", "histogram"),
    ("boolean with gaps", "forest"),
    ("Arrow integers with gaps", "xgboost"),
    ("objects of integers with gaps", "encoded"),
    ("dates", "ordinal"),
    ("category of strings", "lightgbm"),
    ("category with gaps", "xgboost"),
    ("zoned times", "encoded"),
    ("a column without a name", "linear"),
    ("one column named by a number", "forest"),
    ("array of integers", "linear"),
    ("lists that change late", "counted words"),
    ("mappings that change late", "counted words"),
]


def refused(models) -> dict[str, str]:
    """Which models, loaded, do not predict what they were fitted on, or not their own examples; and why."""
    found = {}
    for name, logged in models.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the estimators, about what they are fitted on
            try:
                if not equal(logged.load().predict(logged.seen), logged.model.predict(logged.seen)):
                    found[name] = "other predictions"
                served = logged.serve_example()
                if served is not None and not equal(served, logged.model.predict(logged.seen[:5])):
                    found[name] = "other predictions of the example"
            except Exception as error:  # noqa: BLE001 - MLflow's, or any library's
                found[name] = str(error)[-200:]
    return found


@pytest.mark.slow
def test_a_dozen_models_predict_what_they_were_fitted_on(logged):
    """Whoever loads a model and gives it the data that it was fitted on gets what the model itself predicts."""
    cases = {f"{kind} {name}": Case(KINDS[kind](), fit(name)) for kind, name in A_DOZEN}
    assert refused(logged(cases)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_model_predicts_what_it_was_fitted_on(logged, kind):
    """The same of each estimator, as far as it takes columns of this kind itself."""
    data = KINDS[kind]()
    cases = {f"{kind} {name}": Case(data, fit(name)) for name in ESTIMATORS if takes(name, data)}
    assert refused(logged(cases)) == {}
