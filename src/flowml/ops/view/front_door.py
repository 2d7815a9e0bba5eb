"""Where people begin in MLflow: the flow runs of the experiment that had the newest one."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from flowml.ops.runs import Readable, quickest
from flowml.store.backend import urls
from flowml.store.backend.reading.server_runs import RequestRefusedError


def front_door(ui: str, runs: Readable) -> str:
    """Return the address to open: MLflow's own first page is about traces, and shows that there are none.

    Args:
        ui: The address of MLflow's UI.
        runs: The runs that it shows.
    """
    newest = next(runs.newest(urls.FLOWS, page=1), None)
    return urls.under(ui, urls.of_flows(newest.info.experiment_id if newest else None))


def of_database(ui: str, uri: str) -> str:
    """Return the same for a database that a local server shows; without importing MLflow."""
    runs = quickest(uri)
    # A file that is locked at this moment, a server that stumbles: the table of experiments does, too.
    with suppress(sqlite3.Error, OSError, RequestRefusedError):
        if runs:
            return front_door(ui, runs)
    return urls.under(ui, urls.of_flows(None))
