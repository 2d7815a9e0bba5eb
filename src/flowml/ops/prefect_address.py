"""Which Prefect API is used here, found without importing Prefect where only the environment can name it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from flowml import settings
from flowml.ops import prefect_api
from flowml.stack import state

_URL = "PREFECT_API_URL"
_MORE = re.compile(r"PREFECT_(PROFILE|PROFILES_PATH|(API|CLIENT|CLOUD)_.*)", re.IGNORECASE)  # Prefect reads both cases


def known() -> str | None:
    """Return the address of the API that flows of this place use: the one that is set, or that of ``flowml up``.

    Returns:
        None where there is none: Prefect then starts a temporary server for each process that needs one.
    """
    if not _is_only_in_environment():
        return prefect_api.configured()
    return os.environ.get(_URL) or (state.prefect_api() if settings.current().enabled else None)


def is_plain(api: str) -> bool:
    """Tell whether an API is asked over plain HTTP, without a key or anything else that Prefect is told to use."""
    return api.startswith("http://") and _is_only_in_environment()


def _is_only_in_environment() -> bool:
    """Tell whether nothing but the address is set for Prefect's client, and that in the environment."""
    if "prefect" in sys.modules or any(_MORE.fullmatch(name) and name != _URL for name in os.environ):
        return False
    home = os.environ.get("PREFECT_HOME") or "~/.prefect"
    files = (Path(".env"), Path("prefect.toml"), Path(home).expanduser() / "profiles.toml")
    try:
        project = Path("pyproject.toml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        project = ""
    return "tool.prefect" not in project and not any(file.exists() for file in files)
