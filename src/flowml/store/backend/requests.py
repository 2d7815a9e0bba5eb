"""What MLflow's calls to a server need not do in flowml's own threads: try again for minutes."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

from flowml.patches.mlflow import REQUEST_SESSION

_RETRIES = 1  # of one call


@cache
def limit_retries() -> None:
    """Leave trying again to flowml's sender, where it is the sender that calls.

    MLflow's client sends a call that fails eight times, with four minutes of pauses. The sender tries again by itself,
    and meanwhile has other runs to send, and flows that wait for a limited time: it takes the second failure for one.
    """
    plain = REQUEST_SESSION.get()
    if plain is None:
        return

    def limited(max_retries: int, *args: Any, **kwargs: Any) -> Any:
        if threading.current_thread().name.startswith("flowml-"):
            max_retries = min(max_retries, _RETRIES)
        return plain(max_retries, *args, **kwargs)

    REQUEST_SESSION.replace(limited)
