"""What an operator does with runs: look at them, close those left open, delete them and bring them back."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowml.ops.deleting import delete, restore
    from flowml.ops.reaping import reap_runs
    from flowml.ops.scheduled import reap
    from flowml.ops.show import show

__all__ = ["delete", "reap", "reap_runs", "restore", "show"]

_HOMES = {
    "delete": "deleting",
    "reap": "scheduled",
    "reap_runs": "reaping",
    "restore": "deleting",
    "show": "show",
}


def __getattr__(name: str) -> Any:
    """Load a name when it is first used: only the flow needs Prefect."""
    if name not in _HOMES:
        msg = f"module 'flowml.ops' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"flowml.ops.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
