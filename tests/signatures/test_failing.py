"""A model is logged whatever goes wrong when it is described."""

from __future__ import annotations

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from tests.signatures.conftest import Case

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
    assert client.get_run(one.run_id).data.tags["flowml.signature.panicking"].endswith("(PanicError)")


def test_an_order_to_stop_is_obeyed_while_a_model_is_described(logged):
    """What stops a program stops it in a model's own code, too."""

    class Stopping(LinearRegression):
        def predict(self, _rows):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        logged({"stopping": Case(ROWS, lambda rows: Stopping().fit(rows, range(12)))})
