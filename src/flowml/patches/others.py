"""Private names of Python. Checked with Python 3.10 to 3.14."""

from __future__ import annotations

from flowml.patches.private import PrivateName

REGISTER_ATEXIT = PrivateName(
    "threading",
    "_register_atexit",
    "waits for what is judged of a flow's end before Prefect's sender of events is gone",
    "an event about the last flow of a process may be lost",
)
INITIALIZING = PrivateName(
    "importlib.machinery",
    "ModuleSpec._initializing",
    "tells whether a module is being imported",
    "saving a model may fail while another thread imports a library",
    on_instances=True,
)

NAMES = (REGISTER_ATEXIT, INITIALIZING)
