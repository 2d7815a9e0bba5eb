"""Where Prefect's UI shows something."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import Literal, TypeAlias
from uuid import UUID

from prefect.settings import PREFECT_UI_URL
from prefect.utilities.urls import url_for

from flowml import settings
from flowml.errors import SettingsError
from flowml.secrets.uris import without_credentials

Kind: TypeAlias = Literal["flow-run", "task-run", "deployment"]
_ANY = str(UUID(int=0))


def page_of(kind: Kind, its_id: UUID) -> str | None:
    """Return the page of something, under the address at which people open Prefect; None if there is none."""
    wanted = None
    with suppress(SettingsError):  # said when the call is tracked
        wanted = settings.current().prefect_ui_url
    page = _page_of_any(kind, wanted, PREFECT_UI_URL.value())
    return page and page.replace(_ANY, str(its_id))


@lru_cache(maxsize=64)
def _page_of_any(kind: Kind, wanted: str | None, known: str | None) -> str | None:
    """Make the address once for all of a kind: each task has two, and Prefect takes a tenth of a call to make one.

    What Prefect makes it of is the key.
    """
    url = url_for(kind, obj_id=_ANY, default_base_url=wanted)
    if not url:
        return None
    if wanted and known:
        url = wanted.rstrip("/") + url.removeprefix(str(known).rstrip("/"))
    return without_credentials(url)
