"""The rows on which both models are measured: all of the data, or those that a rule is about."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from flowml.errors import RegistryError, did_you_mean, listed

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def rows_of(data: Any, target: str) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    """Return the rows, numbered from 0, and the true values.

    Args:
        data: A pandas frame, or what can be made one.
        target: The target's column.

    Raises:
        RegistryError: If there are none.
        TypeError: If it is no table.
    """
    import pandas as pd

    convert = getattr(data, "to_pandas", None)
    table = convert() if callable(convert) else data
    if not isinstance(table, pd.DataFrame):
        msg = f"gate(data=...) takes a pandas frame with the target among its columns, not {type(data).__name__}."
        raise TypeError(msg)
    names = [str(column) for column in table.columns]
    if target not in table.columns:
        hint = did_you_mean(str(target), names, most=2) or f"It has {listed(names)}."
        msg = f"The data has no column {target!r}, which is to be the target. {hint} Nothing was decided."
        raise RegistryError(msg)
    if len(table) == 0:
        msg = "The data has no rows: nothing can be said about the candidate. Nothing was decided."
        raise RegistryError(msg)
    if names.count(str(target)) > 1:
        msg = f"The data has several columns {target!r}: which is the target? Nothing was decided."
        raise RegistryError(msg)
    missing = int(table[target].isna().sum())
    if missing:
        msg = f"The target {target!r} is missing in {missing:,} of {len(table):,} rows. Leave them out."
        raise RegistryError(msg)
    numbered = table.reset_index(drop=True)
    return numbered, numbered[target].to_numpy()


def selected(data: pd.DataFrame, where: str | None) -> np.ndarray[Any, Any]:
    """Return the positions of the rows that a query selects.

    Args:
        data: The rows, numbered from 0.
        where: The query; None selects all.

    Raises:
        RegistryError: If it selects none, or is no query about these columns.
    """
    import numpy as np

    if where is None:
        return np.arange(len(data))
    mask = _mask(data, where)
    if not mask.any():
        msg = f"where={where!r} selects none of the {len(data):,} rows: nothing can be said there. Nothing was decided."
        raise RegistryError(msg)
    return np.flatnonzero(mask)


def _mask(data: pd.DataFrame, where: str) -> np.ndarray[Any, Any]:
    import pandas as pd

    try:
        found: Any = data.eval(where, local_dict={}, global_dict={})  # `@` finds no name of this module's
    except Exception as error:  # noqa: BLE001 - whatever the parser makes of it
        columns = [str(column) for column in data.columns]
        words = [word for word in re.findall(r"[^\W\d]\w*", where) if word not in columns]
        hint = next(filter(None, (did_you_mean(word, columns) for word in words)), f"There are {listed(columns)}.")
        msg = f"where={where!r} is no query about the data: {error}. {hint} Nothing was decided."
        raise RegistryError(msg) from None
    if not isinstance(found, pd.Series) or len(found) != len(data) or not pd.api.types.is_bool_dtype(found.dtype):
        msg = f"where={where!r} says of no row whether it is meant. Write a comparison, such as 'age > 60'."
        raise RegistryError(msg)
    return found.fillna(value=False).to_numpy(dtype=bool)
