"""What an operator does: look at runs, close those left open, delete them, start and stop the local servers.

Words: `runs` (a whole MLflow store, page by page), `prefect_address` (where Prefect is), `prefect_api` and
`prefect_states` (what it says), `output` (rows in a terminal or a pipe). Below it: `view`, `launch`, `doctor`,
`reaping`, `servers`, `listeners`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowml.ops.reaping.reap_runs import reap_runs
    from flowml.ops.reaping.scheduled import reap
    from flowml.ops.reconciling import reconcile
    from flowml.ops.servers.down import down, status
    from flowml.ops.servers.options import Wanted
    from flowml.ops.servers.up import Run
    from flowml.ops.view.deleting import delete, restore
    from flowml.ops.view.show import show

__all__ = ["Run", "Wanted", "delete", "down", "reap", "reap_runs", "reconcile", "restore", "show", "status"]

_HOMES = {
    "Run": "servers.up",
    "Wanted": "servers.options",
    "delete": "view.deleting",
    "down": "servers.down",
    "reap": "reaping.scheduled",
    "reap_runs": "reaping.reap_runs",
    "reconcile": "reconciling",
    "restore": "view.deleting",
    "show": "view.show",
    "status": "servers.down",
}


def __getattr__(name: str) -> Any:
    """Load a name when it is first used: only the flow needs Prefect."""
    if name not in _HOMES:
        msg = f"module 'flowml.ops' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"flowml.ops.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
