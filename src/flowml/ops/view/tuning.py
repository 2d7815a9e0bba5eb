"""``flowml tune show``: the trials of a study, the best first."""

from __future__ import annotations

import json
from typing import Any

from flowml.ops import output
from flowml.tuning.study import Study

_PARAM = "param."


def show(name: str, *, storage: str | None, most: int, as_json: bool) -> None:
    """Print them.

    Args:
        name: The study's name.
        storage: The database that it is in; None for a file of this project.
        most: How many at most.
        as_json: Print all of them as JSON.

    Raises:
        TuningError: If there is no such study.
    """
    study = Study.find(name, storage)
    table = study.table()
    if as_json:
        trials = json.loads(table.to_json(orient="records")) if len(table) else []
        output.data({"study": name, "goals": study.goals, "counts": study.counts(), "trials": trials})
        return
    counts = ", ".join(f"{many} {how}" for how, many in study.counts().items()) or "no trials yet"
    if output.is_terminal():
        output.note(f"{name}: {', '.join(study.goals)}; {counts}")
    if not len(table):
        output.say(f"{name} has no trials yet.")
        return
    first = study.metrics[0]
    lowest = study.optuna.directions[0].name == "MINIMIZE"
    table = table.sort_values(["state", first], ascending=[True, lowest], kind="stable", na_position="last")
    titles = ["number", "state", *study.metrics, "seconds", "params", "error"]
    output.rows(titles, [_line(dict(row), study.metrics) for _, row in table.head(most).iterrows()])


def _line(row: dict[Any, Any], metrics: list[str]) -> list[object]:
    params = [f"{key.removeprefix(_PARAM)}={_short(row[key])}" for key in row if key.startswith(_PARAM)]
    given = [each for each in params if not each.endswith("=")]
    numbers = [_short(row[key]) for key in (*metrics, "seconds")]
    return [row["number"], row["state"], *numbers, " ".join(given), row["error"] or ""]


def _short(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124 - NaN: there is none
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
