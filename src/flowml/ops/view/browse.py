"""``flowml open``: a run's page in the browser."""

from __future__ import annotations

import os
import sys
from typing import Literal

from flowml.ops import output, prefect_address
from flowml.ops.runs import reading
from flowml.ops.view import facts
from flowml.ops.view.finding import find
from flowml.ops.view.front_door import front_door
from flowml.secrets import mask
from flowml.store.backend.connection import ui_of
from flowml.store.backend.failures import explained
from flowml.store.backend.in_force import tracking_uri


def browse(named: str | None, *, where: Literal["prefect", "mlflow"]) -> None:
    """Print the address of a run's page, and open it where there is a browser.

    Args:
        named: The run, as `show` takes it; None for the flow runs.
        where: In which UI.

    Raises:
        LookupError: If there is no such run, or no server that has a page of it.
        TrackingError: If MLflow cannot be reached.
    """
    address = _front(where) if named is None else _page(named, where)
    output.say(address)
    if has_browser():
        import webbrowser

        webbrowser.open(address)


def _front(where: Literal["prefect", "mlflow"]) -> str:
    if where == "prefect":
        api = prefect_address.known()
        if api is None:
            msg = "No Prefect server is known. Start one with `flowml up`, or name it: PREFECT_API_URL=http://.../api"
            raise LookupError(msg)
        return f"{api.removesuffix('/api')}/runs"
    uri = tracking_uri()
    ui = ui_of(uri)
    if ui is None:
        raise LookupError(_no_mlflow(uri))
    with explained(uri):
        return front_door(ui, uri, reading().runs)


def _page(named: str, where: Literal["prefect", "mlflow"]) -> str:
    store = reading()
    found = find(store, named)
    pages = facts.pages(store, found.run)
    address = pages.prefect if where == "prefect" else pages.mlflow
    if address is None:
        raise LookupError(_no_prefect(found.run.data.tags) if where == "prefect" else _no_mlflow(store.uri))
    if found.note:
        output.note(found.note)
    return address


def has_browser() -> bool:
    """Tell whether a browser would show itself; one in the terminal would take the terminal."""
    if sys.platform != "linux" or os.environ.get("BROWSER"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _no_mlflow(uri: str) -> str:
    return (
        f"No MLflow server is known that shows {mask(uri)}. "
        "Start one with `flowml up`, or name it: FLOWML_MLFLOW_UI_URL=http://..."
    )


def _no_prefect(tags: dict[str, str]) -> str:
    api = tags.get("prefect.api")
    told = f"The run was made with a Prefect that has no pages ({api})" if api else "The run is not one of Prefect's"
    return f"{told}. Start a server with `flowml up`, and later runs have a page."
