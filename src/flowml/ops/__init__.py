"""What an operator does: look at runs, close those left open, delete them, start and stop the local servers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowml.ops.choices import Wanted
    from flowml.ops.deleting import delete, restore
    from flowml.ops.down import down
    from flowml.ops.reaping import reap_runs
    from flowml.ops.scheduled import reap
    from flowml.ops.status import status
    from flowml.ops.up import Run
    from flowml.ops.view.show import show

__all__ = ["Run", "Wanted", "delete", "down", "reap", "reap_runs", "restore", "show", "status"]

_HOMES = {
    "Run": "up",
    "Wanted": "choices",
    "delete": "deleting",
    "down": "down",
    "reap": "scheduled",
    "reap_runs": "reaping",
    "restore": "deleting",
    "show": "view.show",
    "status": "status",
}


def __getattr__(name: str) -> Any:
    """Load a name when it is first used: only the flow needs Prefect."""
    if name not in _HOMES:
        msg = f"module 'flowml.ops' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"flowml.ops.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
