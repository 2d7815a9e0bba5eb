"""The rules of a gate: what they take, what they say, and what holds of them for any two models."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowml import AtLeast, AtMost, Better, NotWorse, Significant
from flowml.registry.evaluation.bootstrap import interval
from flowml.registry.evaluation.metrics import resolve
from flowml.registry.evaluation.predictions import Predictions
from flowml.registry.rules import Measured

shares = st.floats(0, 1, allow_subnormal=False)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Better("roc_auc", bye=1), r"no option 'bye' \(did you mean 'by'\?\)"),
        (lambda: Better("roc_auc", by="1"), "takes a number that is not negative, not '1'"),
        (lambda: Better("roc_auc", by=-1), "not negative, not -1"),
        (lambda: Better("roc_auc", by=True), "not True"),
        (lambda: Better(3), "takes the name of a metric"),
        (lambda: Better(" "), "takes the name of a metric"),
        (lambda: NotWorse("recall", tolerance=float("nan")), "not nan"),
        (lambda: NotWorse("recall", where=""), "takes a pandas query"),
        (lambda: AtMost("log_loss", None), "takes a number, not None"),
        (lambda: AtLeast("recall", float("inf")), "takes a number, not inf"),
        (lambda: Significant("roc_auc", confidence=95), "from 0.5 to 0.9999, such as 0.95, not 95"),
    ],
)
def test_a_wrong_option_is_refused_at_once(make, message):
    """A rule that makes no sense is refused where it is written, with what it takes."""
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.parametrize(
    "text",
    [
        'AtLeast("recall", 0.9, where="age > 60")',
        'AtMost("log_loss", 0.2)',
        'Better("roc_auc")',
        'Better("roc_auc", by=0.002)',
        'NotWorse("recall", where="city == \'Rome\'", tolerance=0.01)',
        'Significant("roc_auc", confidence=0.99)',
    ],
)
def test_a_rule_is_told_as_it_is_written(text):
    """As text it is the code that makes it; it can be pickled and compared."""
    rule = eval(text)
    assert str(rule) == text
    assert pickle.loads(pickle.dumps(rule)) == rule


def measured(candidate: float, champion: float, *, higher: bool, ends: tuple[float, float] | None = None) -> Measured:
    """Two values of one metric."""
    return Measured(candidate, champion, higher, ends)


@given(one=shares, two=shares, higher=st.booleans(), by=shares)
def test_of_two_models_at_most_one_is_better(one, two, higher, by):
    """No model is better than itself, nor two than each other; one that is better is not worse."""
    there, back = measured(one, two, higher=higher), measured(two, one, higher=higher)
    assert there.difference == -back.difference
    rule = Better("m", by=by)
    assert not (rule.judge(there)[0] and rule.judge(back)[0])
    assert not rule.judge(measured(one, one, higher=higher))[0]
    assert NotWorse("m").judge(measured(one, one, higher=higher))[0]
    if rule.judge(there)[0]:
        assert NotWorse("m", tolerance=by).judge(there)[0]
        assert Better("m").judge(there)[0]


@given(value=shares, limit=shares)
def test_a_limit_is_met_from_one_side_or_both(value, limit):
    """A value is at least or at most the limit, and both only where they are the same."""
    met = [kind("m", limit).judge(measured(value, value, higher=True))[0] for kind in (AtLeast, AtMost)]
    assert any(met)
    assert all(met) == (abs(value - limit) <= 1e-12)


@given(low=shares, width=shares, higher=st.booleans())
def test_only_an_interval_without_zero_is_significant(low, width, higher):
    """The whole interval must be a gain, whichever direction is better."""
    ends = (low, low + width) if higher else (-low - width, -low)
    at_middle = (ends[0] + ends[1]) / 2
    assert Significant("m").judge(measured(at_middle, 0.0, higher=higher, ends=ends))[0] == (low > 0)
    assert not Significant("m").judge(measured(at_middle, 0.0, higher=not higher, ends=ends))[0]


def told(seed: int, rows: int, skill: float) -> Predictions:
    """What a model of some skill says about rows of two classes."""
    chance = np.random.default_rng(seed)
    truth = np.arange(rows) % 2
    second = np.clip(skill * truth + (1 - skill) * chance.random(rows), 0.01, 0.99)
    both = np.column_stack([1 - second, second])
    return Predictions(truth, (second > 0.5) * 1, (second > 0.5) * 1, np.array([0, 1]), both, None, "it")


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(4, 40),
    skill=st.floats(0, 0.9),
    other=st.floats(0, 0.9),
    metric=st.sampled_from(["accuracy", "roc_auc", "log_loss", "f1", "brier_score", "r2"]),
)
def test_an_interval_holds_for_any_two_models(rows, skill, other, metric):
    """It has two ends in order, is found again, holds nothing but 0 of a model with itself; percentiles turn round."""
    one, two, measure = told(1, rows, skill), told(2, rows, other), resolve(metric, {})
    options = {"confidence": 0.9, "resamples": 100}
    there = interval(measure, one, two, **options)
    assert there == interval(measure, one, two, **options)
    assert there.low <= there.high
    itself = interval(measure, one, one, **options)
    assert (itself.low, itself.high) == (0, 0)
    assert not Significant(metric).judge(Measured(1.0, 1.0, measure.higher_is_better, (itself.low, itself.high)))[0]
    back = interval(measure, two, one, **options)
    if there.method == back.method == "percentile":
        assert (back.low, back.high) == pytest.approx((-there.high, -there.low))


def test_many_rows_have_an_interval_between_percentiles():
    """With many rows the interval turns round with the models, and is narrower than with few."""
    accuracy = resolve("accuracy", {})
    few, many = (
        [interval(accuracy, told(1, n, a), told(2, n, b), confidence=0.95, resamples=300) for a, b in pairs]
        for n, pairs in ((60, [(0.3, 0.1), (0.1, 0.3)]), (2000, [(0.3, 0.1)]))
    )
    assert {one.method for one in few} == {"BCa"}
    assert many[0].method == "percentile"
    assert many[0].high - many[0].low < few[0].high - few[0].low


def test_one_row_of_a_class_is_drawn_with_the_others():
    """A class of one row does not stop the drawing."""
    one = told(1, 9, 0.5)
    truth = np.array([0] * 8 + [1])
    there = Predictions(truth, one.numbers, one.predicted, one.classes, one.probabilities, None, "it")
    other = Predictions(truth, 1 - one.numbers, 1 - one.predicted, one.classes, one.probabilities, None, "it")
    found = interval(resolve("accuracy", {}), there, other, confidence=0.9, resamples=100)
    assert found.low < found.high
