"""Kept requests as tables: what the model was asked, and what it said, a row for each row that was asked for."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from flowml.serving.monitoring.measured import GOOD

if TYPE_CHECKING:
    import pandas as pd


class ServedTables(NamedTuple):
    """What a model was asked, and what it said; what `served_tables` returns.

    Attributes:
        inputs: The rows that it was asked about.
        predictions: What it said about each, in the same order.
        unread: How many requests are in neither: they were answered by an error, or are longer than what is kept of
            one, or have another form.
    """

    inputs: pd.DataFrame
    predictions: pd.Series
    unread: int


def served_tables(rows: pd.DataFrame) -> ServedTables:
    """Return the inputs and predictions of kept requests, to be compared with the rows that a model was trained on.

    Args:
        rows: What `served_requests` returned.

    Returns:
        Both, with the id of the request as the index of each row.

    Example:
        >>> asked = flowml.served_tables(flowml.served_requests("churn"))
        >>> flowml.measure_drift(training_rows, asked.inputs).drifted
        []
    """
    import pandas as pd

    tables: list[pd.DataFrame] = []
    predictions: list[pd.Series] = []
    for row in rows.to_dict("records"):
        if row["status"] not in GOOD:
            continue
        try:
            asked = _inputs(str(row["request"]), str(row["content_type"]))
            said = _predictions(str(row["answer"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        # Tables with a column twice cannot be joined: one such request must not hide all the others.
        if len(asked) == len(said) and asked.columns.is_unique:
            tables.append(asked.set_axis([row["id"]] * len(asked)))
            predictions.append(pd.Series(said, index=tables[-1].index, dtype=object))
    whole = [table for table in tables if len(table)]
    return ServedTables(
        pd.concat(whole) if whole else pd.DataFrame(),
        (pd.concat(predictions) if predictions else pd.Series(dtype=object)).infer_objects().rename("prediction"),
        len(rows) - len(tables),
    )


def _inputs(text: str, content_type: str) -> pd.DataFrame:
    """Read a request in one of the forms that MLflow's server takes; a single record of a chat is a row.

    Raises:
        Exception: If it has none of them.
    """
    import pandas as pd

    if content_type.startswith("text/csv"):
        return pd.read_csv(io.StringIO(text))
    asked = json.loads(text)
    if "dataframe_split" in asked:
        split: Mapping[str, Any] = asked["dataframe_split"]
        return pd.DataFrame(split["data"], columns=split.get("columns"))
    for name in ("dataframe_records", "instances", "inputs"):
        if name in asked:
            return _table(asked[name])
    return pd.DataFrame([asked])


def _table(values: Any) -> pd.DataFrame:
    """Make a table of records, of columns, or of a list of values or rows."""
    import pandas as pd

    if isinstance(values, Mapping):
        return pd.DataFrame(values if all(isinstance(one, list) for one in values.values()) else [values])
    if isinstance(values, list):
        table = pd.DataFrame(values)
        return table.set_axis([f"{name}" for name in table.columns], axis=1)
    return pd.DataFrame({"0": [values]})


def _predictions(text: str) -> list[Any]:
    answer = json.loads(text)
    said = answer.get("predictions", answer) if isinstance(answer, dict) else answer
    if not isinstance(said, list):
        return [said]
    return [next(iter(one.values())) if isinstance(one, dict) and len(one) == 1 else one for one in said]
