"""A table is compared with an earlier one: what has drifted is named, and what chance explains is not."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import pandas as pdst
from mlflow import MlflowClient
from tests.runs import run_of

from flowml import Drift, flow, measure_drift, served_tables, task

BILLING = ["the invoice of last month is wrong", "I want my money back for this order"]
CRASHES = ["the app crashes when I open it", "error 500 after the newest update today"]


def table(
    seed: int, *, mean: float = 0.0, shares: tuple[float, ...] = (0.5, 0.3, 0.2), texts: list[str] = BILLING
) -> pd.DataFrame:
    """Draw 300 rows with a number, a category, a constant, a text, and a number that is missing now and then."""
    rng = np.random.default_rng(seed)
    many = 300
    return pd.DataFrame(
        {
            "amount": rng.normal(mean, 1, many),
            "plan": rng.choice(["free", "team", "firm"], many, p=shares),
            "constant": 1,
            "text": [f"{texts[number % 2]} {rng.integers(99)}" for number in range(many)],
            "age": np.where(rng.random(many) < 0.1, np.nan, rng.integers(18, 80, many)),
        }
    )


def kinds(drift: Drift) -> dict[str, str]:
    """Return each column's kind."""
    return {one.column: one.kind for one in drift.columns}


def test_two_draws_of_the_same_have_not_drifted() -> None:
    """Ten pairs of tables from the same distribution: at most one column of fifty seems to have drifted."""
    found = [measure_drift(table(2 * seed), table(2 * seed + 1)).drifted for seed in range(10)]
    assert sum(map(len, found)) <= 1


def test_each_kind_of_change_is_noticed() -> None:
    """A shift, other shares, another constant, other topics, and values that are missing are named, with their size."""
    now = table(1, mean=0.5, shares=(0.2, 0.3, 0.5), texts=CRASHES).assign(constant=2, age=np.nan)
    drift = measure_drift(table(0), now)
    expected = {"amount": "number", "plan": "category", "constant": "number", "text": "text", "age": "number"}
    assert kinds(drift) == expected
    assert drift.drifted == list(expected)
    metrics = drift.metrics()
    assert (metrics["drifted"], metrics["compared"]) == (5, 5)
    assert metrics["size.max"] == max(metrics[f"size.{name}"] for name in expected) > 1
    assert 0.1 < metrics["size.amount"] < 0.5
    assert list(drift.table["column"]) == list(expected)
    assert drift.figure().axes[0].get_title() == "5 of 5 columns have drifted"


def test_a_slight_change_of_many_rows_does_not_matter() -> None:
    """Where many rows make the slightest change certain, its size says that it is none; the user sets how much is."""
    rng = np.random.default_rng(0)
    before, now = (pd.DataFrame({"x": rng.normal(mean, 1, 50_000)}) for mean in (0, 0.05))
    (column,) = measure_drift(before, now).columns
    assert column.p_value is not None
    assert column.p_value < 1e-6
    assert not column.drifted
    assert measure_drift(before, now, size=0.001).drifted == ["x"]


def test_columns_that_one_table_lacks() -> None:
    """A column that is gone has drifted; a new one is named; what has too few values says so."""
    before = table(0).assign(rare=[1.0, 2.0, *[np.nan] * 298])
    now = table(1).drop(columns="amount").assign(new=1, rare=np.nan)
    drift = measure_drift(before, now)
    by_name = {one.column: one for one in drift.columns}
    assert drift.drifted == ["amount"]
    assert (by_name["amount"].kind, by_name["new"].kind) == ("missing", "new")
    few = measure_drift(before.head(5), now)
    assert {one.kind for one in few.columns} == {"few", "missing", "new"}
    assert "5 values say nothing; 20 are needed" in few.columns[1].note


def test_many_rare_values_are_compared_too() -> None:
    """Where each value is rare, other values have drifted, and another draw of the same ones has not."""
    before, again, others = (
        pd.DataFrame({"zip": [f"{kind}{number}" for number in np.random.default_rng(seed).integers(0, 150, 300)]})
        for kind, seed in (("u", 0), ("u", 1), ("v", 2))
    )
    assert measure_drift(before, again).drifted == []
    assert measure_drift(before, others).drifted == ["zip"]


def test_what_is_said_of_values_that_are_others_now() -> None:
    """New categories are named, and numbers that have become text are counted."""
    now = table(1).assign(plan="trial", amount="unknown")
    drift = measure_drift(table(0), now)
    notes = {one.column: one.note for one in drift.columns}
    assert "new values (1), such as trial" in notes["plan"]
    assert "300 values are no numbers any more" in notes["amount"]
    assert {"plan", "amount"} <= set(drift.drifted)


def test_texts_are_embedded_as_the_user_says() -> None:
    """An embedding of the user's is used; one without a row for each text is refused."""
    before, now = table(0)[["text"]], table(1, texts=CRASHES)[["text"]]

    def by_crash(texts: Any) -> np.ndarray:
        return np.array([[1.0, 0.0] if "invoice" in text or "money" in text else [0.0, 1.0] for text in texts])

    (column,) = measure_drift(before, now, embed=by_crash).columns
    assert (column.drifted, column.size) == (True, 1.0)
    with pytest.raises(ValueError, match=r"gave the shape \(600,\) for 600 texts: a row for each"):
        measure_drift(before, now, embed=lambda texts: [0.0] * len(texts))
    with pytest.raises(ValueError, match=r"gave 600 of 600 texts of 'text' a vector that is not finite"):
        measure_drift(before, now, embed=lambda texts: [[float("nan")]] * len(texts))


def test_times_and_decimals_are_compared_as_numbers_in_whatever_form_they_come() -> None:
    """The same times in another unit, zone or as text have not drifted; other decimals have, although each is new."""
    days = pd.date_range("2020-01-01", periods=100)
    before = pd.DataFrame({"day": days})
    for same in (days.astype("datetime64[s]"), days.tz_localize("UTC"), days.strftime("%Y-%m-%dT%H:%M:%S")):
        assert measure_drift(before, pd.DataFrame({"day": same})).drifted == []
    assert measure_drift(before, pd.DataFrame({"day": (days + pd.Timedelta(days=90)).astype(str)})).drifted == ["day"]
    prices = [pd.DataFrame({"price": [Decimal(number) + start for number in range(100)]}) for start in (0, 90)]
    assert measure_drift(prices[0], prices[0]).drifted == []
    assert measure_drift(*prices).drifted == ["price"]


@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"reference": [1]}, "takes a pandas DataFrame, not list"),
        ({"current": pd.DataFrame({"x": []})}, "has no rows"),
        ({"reference": pd.DataFrame([[1, 2]], columns=["x", "x"])}, "more than one column of the name x"),
        ({"alpha": 1.0}, "between 0 and 1"),
        ({"size": -1.0}, "a number of 0 or more"),
        ({"alpha": "0.1"}, r"alpha=...\) takes a number, not '0.1'"),
        ({"kinds": {"x": "words"}}, "takes 'number', 'category', 'text'"),
        ({"kinds": {"y": "text"}}, "names the column 'y', which the earlier table does not have"),
    ],
)
def test_bad_input_is_explained(wrong: dict[str, Any], says: str) -> None:
    """The message says what was wrong, with the value."""
    given = {"reference": pd.DataFrame({"x": [1]}), "current": pd.DataFrame({"x": [2]})} | wrong
    with pytest.raises((TypeError, ValueError), match=says):
        measure_drift(**given)


@given(
    pdst.data_frames(
        [
            pdst.column("f", elements=st.floats() | st.none()),
            pdst.column("i", elements=st.integers(-(2**40), 2**40)),
            pdst.column("b", elements=st.booleans()),
            pdst.column("o", elements=st.none() | st.text(max_size=20) | st.integers(), dtype=object),
            pdst.column(
                "t", elements=st.datetimes(min_value=pd.Timestamp(1980, 1, 1), max_value=pd.Timestamp(2100, 1, 1))
            ),
        ],
        index=pdst.range_indexes(min_size=20, max_size=40),
    )
)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_table_has_not_drifted_from_itself(same: pd.DataFrame) -> None:
    """Whatever a table holds, it can be compared, and is the same as itself in another order."""
    drift = measure_drift(same, same.sample(frac=1, random_state=0))
    assert drift.drifted == []
    assert all(one.p_value is None or 0 <= one.p_value <= 1 for one in drift.columns)


def kept(request: object, answer: object, status: int = 200, content_type: str = "application/json") -> dict[str, Any]:
    """Make a row as `served_requests` returns it."""
    texts = [text if isinstance(text, str) else json.dumps(text) for text in (request, answer)]
    row = {"id": f"r{len(texts[0])}", "status": status, "content_type": content_type}
    return row | {"request": texts[0], "answer": texts[1]}


def test_requests_of_each_form_become_rows() -> None:
    """All forms that MLflow's server takes are read; what cannot be is counted."""
    rows = [
        kept({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}}, {"predictions": [0, 1]}),
        kept({"dataframe_records": [{"a": 5, "b": 6}]}, {"predictions": [{"prediction": 1}]}),
        kept({"inputs": {"a": [7], "b": [8]}}, {"predictions": [1]}),
        kept({"instances": [{"a": 9, "b": 10}]}, {"predictions": [0]}),
        kept("a,b\n11,12\n", {"predictions": [0]}, content_type="text/csv"),
        kept({"dataframe_records": [{"a": 1}]}, {"error": "no b"}, status=400),
        kept('{"dataframe_records": [{"a": 1', {"predictions": [0]}),
        kept({"dataframe_records": [{"a": 1}]}, {"predictions": [0, 1]}),
        kept({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, {"predictions": [0]}),
    ]
    inputs, predictions, unread = served_tables(pd.DataFrame(rows))
    assert inputs.to_numpy().tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12]]
    assert list(inputs.columns) == ["a", "b"]
    assert predictions.tolist() == [0, 1, 1, 1, 0, 0]
    assert unread == 4
    nothing = served_tables(pd.DataFrame(rows).head(0))
    assert (len(nothing.inputs), len(nothing.predictions), nothing.unread) == (0, 0, 0)


def test_a_chat_is_a_row() -> None:
    """A request that is no table, such as one to a chat model, has its fields as columns."""
    rows = pd.DataFrame([kept({"question": "Where is my invoice?", "top_k": 3}, {"predictions": "In your account."})])
    inputs, predictions, _ = served_tables(rows)
    assert inputs.to_dict("records") == [{"question": "Where is my invoice?", "top_k": 3}]
    assert predictions.tolist() == ["In your account."]


def test_drift_is_logged_as_a_user_writes_it(client: MlflowClient) -> None:
    """A task that returns the metrics, the table and the figure has all of them on its run."""

    @task
    def compare(before: pd.DataFrame, now: pd.DataFrame) -> dict[str, Any]:
        drift = measure_drift(before, now)
        return {"drift": drift.metrics(), "columns": drift.table, "chart": drift.figure()}

    @flow
    def watch() -> None:
        compare(table(0), table(1, mean=1.0))

    watch()
    run = run_of(client, "compare")
    assert run.data.metrics["drift.drifted"] == 1
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert any("chart" in name for name in names), names
    assert "columns" in {each.dataset.name for each in run.inputs.dataset_inputs}
