"""docs/reference/what-is-logged.md says what the code does: each row of its tables is run."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pytest
import xgboost
from matplotlib.figure import Figure
from sklearn.base import BaseEstimator

from flowml import describe, mlflow_limits, options, records

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "what-is-logged.md").read_text("utf-8")


@dataclass
class Config:
    """The page's example of named fields."""

    lr: float
    depth: int


class Unfitted(BaseEstimator):
    """An estimator with a single setting."""

    def __init__(self, C=1.0):
        self.C = C

    def fit(self, _X):
        """Do nothing."""
        return self


class Fitted(Unfitted):
    """The same, trained."""

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, X):
        """Give back what is given."""
        return X


class Prepared(Unfitted):
    """One that cannot predict, trained."""

    def __sklearn_is_fitted__(self):
        return True


VALUES = {
    "Annotated": Annotated,
    "Config": Config,
    "Fitted": Fitted,
    "Path": Path,
    "Prepared": Prepared,
    "Unfitted": Unfitted,
    "array": np.zeros((2, 3)),
    "date": date,
    "figure": Figure(figsize=(2, 1)),
    "file": Path(__file__),
    "frame": pd.DataFrame({"a": [1, 2]}),
    "json": json,
    "matrix": xgboost.DMatrix(np.zeros((2, 3))),
    "numbers": [0.5] * 101,
    **{name: getattr(options, name) for name in ("Artifact", "Dataset", "Metric", "Model", "Param", "Skip")},
}
IDENTITY = {records.Param: ("key", "value"), records.Metric: ("key", "value", "step")}


def rows(heading: str) -> list[list[str]]:
    """Give the cells of the table under a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def code(cell: str) -> list[str]:
    """Give the code in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def written(found: list[records.Record]) -> list[str]:
    """Write records as the page does: what there is to compare of each."""
    lines = []
    for record in found:
        first = getattr(record, "name", None) or getattr(record, "path", "")
        names = IDENTITY.get(type(record))
        parts = [getattr(record, name) for name in names] if names else [first]
        if isinstance(record, records.Metric) and not any(isinstance(r, records.Metric) and r.step for r in found):
            parts.pop()
        lines.append(f"{type(record).__name__}{tuple(parts)!r}".replace(",)", ")"))
    return lines


def expected(cell: str) -> list[str]:
    """Read the records in a cell, in one way of writing."""
    if cell == "nothing":
        return []
    return [
        re.sub(r"^(\w+)(.*)$", lambda m: m[1] + repr(_arguments(m[2])).replace(",)", ")"), text) for text in code(cell)
    ]


def _arguments(text: str) -> tuple:
    value = eval(text)  # the page is ours
    return value if isinstance(value, tuple) else (value,)


def value_of(text: str):
    """Evaluate an expression of the page."""
    return eval(text, dict(VALUES))  # the page is ours


@pytest.mark.parametrize("argument, logged", rows("Arguments"))
def test_each_argument_on_the_page_is_logged_as_it_says(argument, logged):
    """One row of the first table."""
    assert written(describe.inputs({"x": value_of(code(argument)[0])}, {})) == expected(logged)


@pytest.mark.parametrize("returned, logged", rows("Returned values"))
def test_each_returned_value_on_the_page_is_logged_as_it_says(returned, logged):
    """One row of the second table."""
    assert written(describe.outputs(value_of(code(returned)[0]), "train")) == expected(logged)


@pytest.mark.parametrize("annotation, value, logged", rows("Saying it yourself"))
def test_each_marker_on_the_page_works_as_it_says(annotation, value, logged):
    """One row of the third table."""
    found = describe.outputs(value_of(code(value)[0]), "train", value_of(code(annotation)[0]))
    assert written(found) == expected(logged)


def test_the_limits_on_the_page_are_those_of_the_code():
    """Each number in the table of limits is the constant that is used."""
    from flowml.describe import keys, limits, metrics, values
    from flowml.describe.tables import dataset_parts
    from flowml.describe.types import scalars

    numbers = [int(re.search(r"[\d,]+", row[1])[0].replace(",", "")) for row in rows("Limits")]
    assert numbers == [
        limits.MOST_PARAMS,
        mlflow_limits.PARAM,
        keys.LONGEST,
        metrics.MOST_POINTS,
        limits.MOST_POINTS,
        dataset_parts.MOST_COLUMNS,
        scalars.LONGEST,
        values.DEEPEST,
    ]


def test_the_example_of_a_type_of_ones_own_runs():
    """The code on the page, with the result that it names."""
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict = {}
    exec(example, names)
    found = describe.inputs({"x": names["Invoice"]()}, {})
    assert written(found) == expected(re.search(r"is now (`Param.*?`)", PAGE)[1])
