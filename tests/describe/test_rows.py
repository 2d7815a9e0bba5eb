"""What stands in a table is logged only when it is asked for: no parameter shows its rows."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from flowml import describe, records

FRAME = pd.DataFrame({"patient": ["Ada L.", "Grace H."]})
TABLES = [FRAME, FRAME["patient"], pd.Index(FRAME["patient"]), FRAME.to_numpy(), pa.table(FRAME), pa.array(["Ada L."])]
TABLES += [pl.DataFrame({"patient": ["Ada L."]}), pl.Series(["Ada L."]), np.array([["Ada L."]])]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{type(table).__module__}.{type(table).__name__}")
def test_no_rows_of_a_table_stand_in_a_parameter(table: Any) -> None:
    """Beside other things, in lists of lists, in views and objects that are shown by their repr."""
    for holder in (
        (table, object()),
        [[table], object()],
        {"a": [table, {"b": table}]},
        {"a": table}.values(),
        types.SimpleNamespace(table=table),
        {frozenset({1}): (object(), [table])},
    ):
        for found in (describe.inputs({"x": holder}, {}), describe.outputs(holder, "t")):
            assert not any("Ada" in record.value for record in found if isinstance(record, records.Param))


def test_labels_beside_a_table_are_a_dataset() -> None:
    """A list with as many elements as the table has rows is a column of it; another one is shown."""

    def shown(value: Any) -> list[str]:
        found = describe.inputs({"data": value}, {})
        return [record.value if isinstance(record, records.Param) else str(record.name) for record in found]

    assert shown((FRAME, ["ill", "well"])) == ["data.0", "data.1"]
    assert shown([FRAME, FRAME, (1, 0)]) == ["data.0", "data.1", "data.2"]
    assert shown((FRAME, ["ill"], {"n": 3})) == ["tuple of 3: (DataFrame, ['ill'], {'n': 3})", "data.0"]
    assert shown((["ill", "well"], 3)) == ['[["ill", "well"], 3]']
