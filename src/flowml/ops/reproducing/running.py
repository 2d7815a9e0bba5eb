"""Starts the program that runs the flow again, and finds the run that came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from flowml import formats, settings
from flowml.ops.reproducing.recorded import Recorded
from flowml.ops.reproducing.replay import Order
from flowml.ops.runs import Runs
from flowml.provenance.files import REPRODUCES
from flowml.store.backend.failures import explained

if TYPE_CHECKING:
    from mlflow.entities import Run

    from flowml.store.backend.connection import Connection

_ENDING = " reproduced"  # of the experiment's name
_CHOOSING = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
_OF_THIS_PYTHON = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")

# Python looks in the flow's folder first, where a types.py would be taken for its own until all of this is loaded.
_START = (
    "import sys; here = [each for each in sys.path if not each]; sys.path = [each for each in sys.path if each]; "
    "from flowml.ops.reproducing.replay import main; sys.path[:0] = here; main()"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a flow is run again.

    Attributes:
        root: The code's folder.
        python: The Python.
        is_built: Whether that has packages of its own, and none from elsewhere.
    """

    root: Path
    python: str
    is_built: bool


def run_again(before: Recorded, order: Order, place: Place, folder: Path, connection: Connection) -> Run:
    """Run a flow in another process, and return its run.

    Args:
        before: The run that is repeated.
        order: What is to be run.
        place: Where.
        folder: For what is written on the way.
        connection: The store.

    Raises:
        LookupError: If there is no run.
        TrackingError: If MLflow cannot be reached.
    """
    told, registry, began = folder / "order.json", folder / "registry.db", formats.now()
    told.write_text(json.dumps(asdict(order)), "utf-8")
    with explained(connection.uri):
        experiment = connection.client.get_experiment(before.run.info.experiment_id).name
    environment = {
        **{name: value for name, value in os.environ.items() if name not in _left_out(place)},
        **_own(connection.uri, f"sqlite:///{registry}", experiment.removesuffix(_ENDING) + _ENDING),
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(folder / "results"),  # no result of another run is found there
    }
    if before.origin.hash_seed:
        environment["PYTHONHASHSEED"] = before.origin.hash_seed
    words = [place.python, "-c", _START, str(told)]
    # What the flow prints goes where messages go: the output is the comparison's.
    sys.stderr.flush()
    done = subprocess.run(words, cwd=_folder_of(before, place.root), env=environment, stdout=2, check=False)  # noqa: S603
    mine = f"tags.`{REPRODUCES}` = '{order.run_id}' and attributes.start_time >= {began - 1000}"
    with explained(connection.uri):
        run = next(islice(Runs(connection.client).newest(mine, page=1), 1), None)
    if run is None:
        msg = f"The flow could not be run again (exit code {done.returncode}); what it said is above."
        raise LookupError(msg)
    return run


def _own(uri: str, registry: str, experiment: str) -> Mapping[str, str]:
    """Return the settings of the flow: its runs go to the same store; nobody else hears of it, and no alias moves."""
    return {
        "FLOWML_ENABLED": "true",
        "FLOWML_REPRODUCE": "true",
        "FLOWML_EVENTS": "false",
        "FLOWML_OFFLINE": "false",
        "FLOWML_ADOPT_ACTIVE_RUN": "false",
        "FLOWML_HOME": str(settings.home_folder()),
        "FLOWML_TRACKING_URI": uri,
        "FLOWML_REGISTRY_URI": registry,
        "FLOWML_EXPERIMENT": experiment,
    }


def _left_out(place: Place) -> set[str]:
    return {*_CHOOSING, *(_OF_THIS_PYTHON if place.is_built else ())}


def _folder_of(before: Recorded, root: Path) -> Path:
    """Return the folder that the flow was called in, as far as it is there."""
    folder = root / before.origin.folder  # an absolute one stays what it is
    return folder if folder.is_dir() else root
