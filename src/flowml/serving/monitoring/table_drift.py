"""How far a table has drifted from an earlier one: each of its columns is compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flowml.capture import contexts
from flowml.capture.links.telling import tell
from flowml.events import vocabulary
from flowml.events.vocabulary import Event
from flowml.serving.monitoring.column_drift import ColumnDrift, Embed, Kind, Texts, by_words, compare

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_KINDS = ("number", "category", "text")


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a table has drifted from an earlier one; what `measure_drift` returns.

    Attributes:
        columns: What was found about each column, in the order of the earlier table.
        rows: How many rows the two tables have.
    """

    columns: tuple[ColumnDrift, ...]
    rows: tuple[int, int]

    @property
    def drifted(self) -> list[str]:
        """The names of the columns that have drifted."""
        return [one.column for one in self.columns if one.drifted]

    @property
    def table(self) -> pd.DataFrame:
        """A row for each column, with the fields of `ColumnDrift`."""
        import pandas as pd

        names = list(ColumnDrift.__slots__)
        return pd.DataFrame([[getattr(one, name) for name in names] for one in self.columns], columns=names)

    def metrics(self) -> dict[str, float]:
        """Return it as metrics: how many columns have drifted, the largest size, and each column's own.

        Returns:
            ``drifted`` and ``compared``, both counts of columns; ``size.max``; and ``size.<column>``.
        """
        sizes = {f"size.{one.column}": one.size for one in self.columns if one.size is not None}
        compared = sum(one.p_value is not None for one in self.columns)
        largest = {"size.max": max(sizes.values())} if sizes else {}
        return {"drifted": float(len(self.drifted)), "compared": float(compared), **largest, **sizes}

    def figure(self) -> Figure:
        """Draw the size of each column's change; those that have drifted stand out."""
        from matplotlib.figure import Figure

        shown = sorted((one for one in self.columns if one.size is not None), key=lambda one: one.size or 0.0)
        figure = Figure(figsize=(7, 1.2 + 0.28 * len(shown)), layout="constrained")
        axes = figure.subplots()
        colors = ["tab:red" if one.drifted else "tab:gray" for one in shown]
        axes.barh([one.column for one in shown], [one.size or 0.0 for one in shown], color=colors)
        axes.set_xlabel("size of the change")
        axes.set_title(f"{len(self.drifted)} of {len(self.columns)} columns have drifted")
        return figure


def measure_drift(  # noqa: PLR0913 - two tables, and what may be said of how
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    alpha: float = 0.01,
    size: float = 0.1,
    kinds: Mapping[str, Kind] | None = None,
    embed: Embed | None = None,
) -> Drift:
    """Compare each column of a table with that of an earlier one, such as the rows that a model was trained on.

    A column has drifted where chance is no explanation, and the change is not too small to matter: its p-value is below
    ``alpha``, divided by the number of columns that are tested (Bonferroni's correction), and its size above ``size``.
    A column that is gone has drifted, too. Values that are missing count as a category, and in the size of a number's
    change.

    Args:
        reference: The earlier table.
        current: The later one. Columns that the earlier one does not have are named, and not compared.
        alpha: How probable it may be that a table without any drift is said to have one.
        size: The least change that matters: a population stability index, of texts a cosine distance. 0.1 is a
            slight change, 0.25 a great one.
        kinds: What a column holds, where its values do not tell: ``"number"``, ``"category"`` or ``"text"``.
        embed: Turns texts into vectors, a row for each. Default: the words of both tables, weighed by TF-IDF and
            reduced to 64 dimensions.

    Returns:
        What was found, by column.

    Raises:
        TypeError: If something is no table, or a kind is none.
        ValueError: If a table is empty, or a number is out of its range.

    Example:
        >>> drift = flowml.measure_drift(training_rows, flowml.served_tables(rows).inputs)
        >>> drift.drifted
        ['mean radius']
    """
    _check(reference, current, alpha, size, kinds or {})
    given = dict(kinds or {})
    names = [str(name) for name in reference.columns]
    earlier = reference.set_axis(names, axis=1)
    later = current.set_axis([str(name) for name in current.columns], axis=1)
    texts = Texts(embed or by_words, alpha / len(names))
    found: dict[str, ColumnDrift] = {}
    for name in names:
        if name not in later.columns:
            note = "the later table does not have it"
            found[name] = ColumnDrift(name, "missing", drifted=True, note=note)
            continue
        found[name] = compare(earlier[name], later[name], given.get(name), texts)
    tested = sum(one.p_value is not None for one in found.values())
    for name, one in found.items():
        if one.p_value is not None and one.size is not None:
            drifted = one.p_value < alpha / tested and one.size > size
            found[name] = replace(one, drifted=drifted)
    new = [
        ColumnDrift(str(name), "new", note="the earlier table does not have it") for name in later if name not in found
    ]
    drift = Drift((*found.values(), *new), (len(reference), len(current)))
    if drift.drifted:
        _tell(drift)
    return drift


def _tell(drift: Drift) -> None:
    """Tell Prefect of it, as of a dataset of the flow's, where one runs."""
    here = contexts.flow_here()
    if here is None or here.flow is None:
        return
    name = here.flow.name
    worst = max((one for one in drift.columns if one.drifted), key=lambda one: one.size or math.inf)
    about = {vocabulary.ID: vocabulary.dataset(name), vocabulary.NAME: name}
    told = {"dataset": name, "columns": drift.drifted, "column": worst.column, "drift": worst.size}
    tell(Event(vocabulary.DATASET_DRIFTED, about, told))


def _check(reference: Any, current: Any, alpha: float, size: float, kinds: Mapping[str, str]) -> None:
    import pandas as pd

    for name, table in (("reference", reference), ("current", current)):
        if not isinstance(table, pd.DataFrame):
            msg = f"measure_drift({name}=...) takes a pandas DataFrame, not {type(table).__name__}."
            raise TypeError(msg)
        if not len(table):
            msg = f"measure_drift({name}=...) has no rows: nothing can be compared with it."
            raise ValueError(msg)
        twice = sorted({str(column) for column in table.columns[table.columns.map(str).duplicated()]})
        if twice:
            msg = f"measure_drift({name}=...) has more than one column of the name {', '.join(twice)}."
            raise ValueError(msg)
    _check_numbers(alpha, size)
    for column, kind in kinds.items():
        if kind not in _KINDS:
            msg = f"measure_drift(kinds={{{column!r}: {kind!r}}}) takes {', '.join(map(repr, _KINDS))}."
            raise TypeError(msg)
        if column not in map(str, reference.columns):
            msg = f"measure_drift(kinds=...) names the column {column!r}, which the earlier table does not have."
            raise ValueError(msg)


def _check_numbers(alpha: Any, size: Any) -> None:
    for option, value in (("alpha", alpha), ("size", size)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            msg = f"measure_drift({option}=...) takes a number, not {value!r}."
            raise TypeError(msg)
    if not 0 < alpha < 1:
        msg = f"measure_drift(alpha={alpha!r}) takes a probability between 0 and 1, such as 0.01."
        raise ValueError(msg)
    if not (math.isfinite(size) and size >= 0):
        msg = f"measure_drift(size={size!r}) takes a number of 0 or more, such as 0.1."
        raise ValueError(msg)
