"""Private names of Python and of Ray. Checked with Python 3.10 to 3.14 and Ray 2.60."""

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
RENEW_LOCK = PrivateName(
    "threading",
    "_RLock._at_fork_reinit",
    "frees a lock in a forked child, which another thread of its parent holds",
    "a process that is forked while another thread tracks something may hang",
    on_instances=True,
)
RAY_VERSION = PrivateName(
    "ray.serve",
    "Deployment._version",
    "lets Ray Serve's replicas take another version of a model as they are, where `serve.run` would start each anew",
    "each promotion starts the replicas anew, one after the other",
    on_instances=True,
)

NAMES = (REGISTER_ATEXIT, INITIALIZING, RENEW_LOCK)  # Ray may not be installed
