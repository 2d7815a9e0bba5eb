"""A model is logged whatever goes wrong when it is described."""

from __future__ import annotations

import sys

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tests.signatures.conftest import Case, note_in
from tests.signatures.estimators import equal

ROWS = pd.DataFrame({"size": [1.0, 2.0, 3.0] * 4})


class PanicError(BaseException):
    """What a library written in Rust raises: no `Exception`, and no order to stop."""


class Panicking(LinearRegression):
    """A model whose library panics in what it is asked for."""

    def predict(self, _rows):
        """Panic."""
        raise PanicError

    @property
    def feature_names(self):
        """Panic."""
        raise PanicError


def test_a_panic_costs_the_signature_only(client, logged):
    """A model whose library panics when it predicts, or when it is looked at, is logged, and its run says why so."""
    case = Case(ROWS, lambda rows: Panicking().fit(rows, range(12)))
    [one] = logged({"panicking": case}).values()
    assert note_in(client.get_run(one.run_id).data.tags).endswith("(PanicError)")


def test_an_order_to_stop_is_obeyed_while_a_model_is_described(logged):
    """What stops a program stops it in a model's own code, too."""

    class Stopping(LinearRegression):
        def predict(self, _rows):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        logged({"stopping": Case(ROWS, lambda rows: Stopping().fit(rows, range(12)))})


def test_text_that_no_file_holds_costs_no_model(client, logged):
    """A model of text with lone surrogates, in its cells or its names, is logged, and its run says what is missing."""

    def fit(rows):
        return make_pipeline(OneHotEncoder(), LogisticRegression()).fit(rows, [0, 1] * 5)

    rows = pd.DataFrame({"word": pd.Series(["a", "caf\udce9"] * 5, dtype=object)})
    named = pd.DataFrame([[1.5]] * 10, columns=pd.Index(["caf\udce9"], dtype=object))
    models = logged({"cells": Case(rows, fit), "names": Case(named, fit)})
    tags = [client.get_run(one.run_id).data.tags for one in models.values()]
    assert all(equal(one.load().predict(one.seen), one.model.predict(one.seen)) for one in models.values())
    assert all("UnicodeEncodeError" in note_in(each) for each in tags)


def test_a_signature_that_cannot_be_saved_costs_itself_only(client, logged):
    """A model that its library saves only without an input example is saved without, and its run says so."""

    class Shy(LinearRegression):
        def __reduce__(self):
            frame = sys._getframe()
            while frame := frame.f_back:
                if frame.f_code.co_name == "save_model" and frame.f_locals.get("input_example") is not None:
                    raise PanicError
            return super().__reduce__()

    [one] = logged({"shy": Case(ROWS, lambda rows: Shy().fit(rows, range(12)))}).values()
    note = note_in(client.get_run(one.run_id).data.tags)
    assert note.endswith("neither signature nor input example: the model could not be saved with them (PanicError)")
