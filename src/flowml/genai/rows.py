"""The rows of an evaluation: as MLflow's harness takes them, and as a table of what came of them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flowml.errors import EvaluationError, did_you_mean, listed
from flowml.genai.scoring import NOT_SCORED, ROW_FAILED
from flowml.secrets import mask

if TYPE_CHECKING:
    import pandas as pd

FIELDS = ("inputs", "outputs", "expectations", "trace", "tags")
_MOST = 2_000  # characters of a cell
_YES_NO = {"yes": 1.0, "no": 0.0}


def is_for_language_models(data: Any) -> bool:
    """Tell whether rows are those of MLflow's evaluation of language models: each has inputs, or a trace."""
    if isinstance(data, (str, bytes)):
        return False
    columns = getattr(data, "columns", None)
    if columns is not None:
        return bool({"inputs", "trace"} & {str(column) for column in columns})
    if isinstance(data, Iterable) and not hasattr(data, "to_df"):
        first = next(iter(data), None)
        return first is None or isinstance(first, Mapping) or hasattr(first, "info")
    return hasattr(data, "to_df")


def checked(data: Any, *, predicts: bool) -> Any:
    """Return rows as the harness takes them.

    Raises:
        EvaluationError: If there are none, or they have not what is needed.
    """
    import pandas as pd

    if isinstance(data, Iterable) and not isinstance(data, (pd.DataFrame, list)) and not hasattr(data, "to_df"):
        data = list(data)
    if (isinstance(data, list) and not data) or (hasattr(data, "columns") and len(data) == 0):
        msg = "The data has no rows: there is nothing to evaluate."
        raise EvaluationError(msg)
    if isinstance(data, list):
        for number, row in enumerate(data):
            if isinstance(row, Mapping):
                _check_row(row, number, predicts=predicts)
    return data


def _check_row(row: Mapping[str, Any], number: int, *, predicts: bool) -> None:
    if "inputs" not in row and "trace" not in row:
        near = next((hint for key in row if (hint := did_you_mean(str(key), FIELDS))), "")
        has = f"Row {number} has no 'inputs': it has {listed(map(str, row)) or 'nothing'}. {near}".rstrip()
        msg = f"{has} Write {{'inputs': {{'question': ...}}, 'expectations': {{'answer': ...}}}}."
        raise EvaluationError(msg)
    if predicts and not isinstance(row.get("inputs"), Mapping):
        msg = f"The inputs of row {number} are {row.get('inputs')!r}: they are the function's arguments, by name."
        raise EvaluationError(msg)
    if predicts and "outputs" in row:
        msg = f"Row {number} has 'outputs' already: give a function to evaluate, or outputs, not both."
        raise EvaluationError(msg)
    if not predicts and "outputs" not in row and "trace" not in row:
        msg = f"Row {number} has no 'outputs', and no function was given that makes them."
        raise EvaluationError(msg)


def table_of(result: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Make the table of what came of each row.

    Args:
        result: What the harness returned.
        names: The names of the scorers.
    """
    import pandas as pd

    rows, names = [], list(names)
    for _, row in result.iterrows():
        expected: dict[str, Any] = {}
        found: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for each in row.get("assessments") or []:
            name = each.get("assessment_name")
            if "expectation" in each:
                expected[name] = each["expectation"].get("value", each["expectation"])
            elif error := (each.get("feedback") or {}).get("error"):
                errors[name] = str(error.get("error_message") or error.get("error_code"))
            elif "feedback" in each:
                found[name] = each["feedback"].get("value")
        known = [*names, *(name for name in found if name not in names)]
        rows.append(
            {
                "inputs": row.get("request"),
                "outputs": row.get("response"),
                "expectations": expected or None,
                **{name: found.get(name) for name in known},
                "errors": errors or None,
                "state": str(getattr(row.get("state"), "value", row.get("state"))).rpartition(".")[2],
                "trace_id": row.get("trace_id"),
            }
        )
    return pd.DataFrame(rows)


def keys_of(table: pd.DataFrame) -> tuple[str, ...]:
    """Tell rows apart by what they are asked and what is expected: the same in each evaluation of the same rows."""
    seen: Counter[str] = Counter()
    keys = []
    for given, expected in zip(table["inputs"], table["expectations"], strict=True):
        told = json.dumps([given, expected], sort_keys=True, default=str)
        digest = hashlib.sha256(told.encode()).hexdigest()[:16]
        keys.append(f"{digest}-{seen[digest]}")
        seen[digest] += 1
    return tuple(keys)


def number_of(value: object) -> float:
    """Return a score as a number; not a number, if it is none."""
    if isinstance(value, str):
        return _YES_NO.get(value.strip().lower(), float("nan"))
    if isinstance(value, (bool, int, float)) or hasattr(value, "__float__"):
        return float(value)
    return float("nan")


def outcome_of(error: str | None) -> str:
    """Tell what an error of a score is: ``failed`` or ``unscored``; empty if there is none."""
    if not error:
        return ""
    return "unscored" if NOT_SCORED in error else "failed"


def is_of_row(error: str) -> bool:
    """Tell whether a score is missing because the row's prediction failed."""
    return ROW_FAILED in error


def shown(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Return the table as MLflow's UI shows it: texts, cut where they are long, without secrets."""

    def cell(value: object) -> Any:
        if value is None or isinstance(value, (bool, int, float)):
            return value
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        text = mask(text)
        return text if len(text) <= _MOST else f"{text[:_MOST]}…"

    return {str(name): [cell(value) for value in table[name].tolist()] for name in table.columns}
