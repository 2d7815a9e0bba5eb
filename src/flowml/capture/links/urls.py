"""Where Prefect's UI shows something."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal, TypeAlias
from uuid import UUID

from prefect.settings import PREFECT_UI_URL
from prefect.utilities.urls import url_for

from flowml import settings
from flowml.errors import SettingsError
from flowml.store.backend.failures import without_credentials

Kind: TypeAlias = Literal["flow-run", "task-run", "deployment"]


def page_of(kind: Kind, its_id: UUID) -> str | None:
    """Return the page of something, under the address at which people open Prefect; None if there is none."""
    wanted = None
    with suppress(SettingsError):  # said when the call is tracked
        wanted = settings.current().prefect_ui_url
    url = url_for(kind, obj_id=its_id, default_base_url=wanted)
    if not url:
        return None
    known = PREFECT_UI_URL.value()
    if wanted and known:
        url = wanted.rstrip("/") + url.removeprefix(str(known).rstrip("/"))
    return without_credentials(url)
