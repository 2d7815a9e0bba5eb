"""The rows that a version was trained on, where the flow that made it has saved them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from flowml.capture.reading import connection_here
from flowml.errors import RegistryError, did_you_mean
from flowml.store.registered import Reference, find, parse

if TYPE_CHECKING:
    import pandas as pd

_FOLDER = "data"  # where Dataset(save=True) puts the content of datasets


def training_rows(reference: Reference, name: str | None = None) -> pd.DataFrame:
    """Return the rows that a version of a registered model was trained on, to compare others with them.

    The task that made it must have saved them: ``rows: Annotated[pd.DataFrame, Dataset(save=True)]``.

    Args:
        reference: Which version: ``"churn@champion"`` or ``"churn/7"``.
        name: The dataset's name. Default: the only one that was saved.

    Returns:
        The rows, as the task was given them.

    Raises:
        RegistryError: If there is no such version, or no such dataset was saved; the message says which were.

    Example:
        >>> flowml.measure_drift(flowml.training_rows("churn@champion"), rows).drifted
        []
    """
    import pandas as pd

    connection, ref = connection_here(), parse(reference)
    version = find(connection.client, ref)
    made_by = version.tags.get("flowml.training_run_id") or version.run_id  # else it was registered by other means
    if not made_by:
        msg = f"Version {version.version} of {version.name!r} says of no run that made it, so nobody knows its rows."
        raise RegistryError(msg)
    files = connection.client.list_artifacts(made_by, _FOLDER)
    saved = {PurePosixPath(file.path).stem: file.path for file in files if file.path.endswith(".parquet")}
    wanted = name if name is not None else next(iter(saved), "") if len(saved) == 1 else None
    if wanted is None or wanted not in saved:
        of = f"the rows of version {version.version} of {version.name!r}"
        if not saved:
            msg = f"Nobody saved {of}. Mark what the task is given: rows: Annotated[DataFrame, Dataset(save=True)]."
        elif wanted is None:
            msg = f"Which of {', '.join(sorted(saved))} are {of}? Say it: training_rows({str(ref)!r}, name=...)."
        else:
            names = ", ".join(sorted(saved))
            msg = f"{wanted!r} is not among {of}; there are {names}. {did_you_mean(wanted, saved)}".rstrip()
        raise RegistryError(msg)
    return pd.read_parquet(connection.client.download_artifacts(made_by, saved[wanted]))
