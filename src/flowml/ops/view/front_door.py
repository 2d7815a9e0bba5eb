"""Where people begin in MLflow: the flow runs of the experiment that had the newest one."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from itertools import islice

from flowml.ops.runs import Readable, quickest, server_of
from flowml.ops.view import saved_view
from flowml.store.backend import urls
from flowml.store.backend.reading.server_runs import RequestRefusedError

_NEWEST = 20  # flow runs that are looked at


def front_door(ui: str, uri: str, runs: Readable) -> str:
    """Return the address to open: MLflow's own first page is about traces, and shows that there are none.

    Args:
        ui: The address of MLflow's UI.
        uri: The store that it shows.
        runs: The runs in it.
    """
    newest = list(islice(runs.newest(urls.FLOWS, page=_NEWEST), _NEWEST))
    if not newest:
        return urls.under(ui, urls.of_flows(None))
    experiment_id = newest[0].info.experiment_id
    its_own = [run for run in newest if run.info.experiment_id == experiment_id]
    # Where no view can be saved, such as by a user who may only read, the flow runs are shown with MLflow's columns.
    with suppress(OSError, RequestRefusedError):
        if server := server_of(uri):
            saved_view.save(server, experiment_id, its_own)
            return urls.under(ui, urls.of_flows(experiment_id, saved_view.VIEW))
    return urls.under(ui, urls.of_flows(experiment_id))


def of_database(ui: str, uri: str) -> str:
    """Return the same for a database that a local server shows; without importing MLflow."""
    runs = quickest(uri)
    # A file that is locked at this moment, a server that stumbles: the table of experiments does, too.
    with suppress(sqlite3.Error, OSError, RequestRefusedError):
        if runs:
            return front_door(ui, uri, runs)
    return urls.under(ui, urls.of_flows(None))
