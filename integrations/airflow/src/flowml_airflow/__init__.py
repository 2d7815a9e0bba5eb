"""Airflow tasks that run flows tracked by flowml: ``from flowml_airflow import FlowmlOperator``.

Nothing in here imports Prefect, MLflow or flowml: they are in the interpreter that runs the flow.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowml_airflow.operator import FlowmlOperator
    from flowml_airflow.parent import ParentRun, parent_run

__all__ = ["FlowmlOperator", "ParentRun", "parent_run"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: Airflow imports the package to read what it provides."""
    if name == "FlowmlOperator":
        from flowml_airflow.operator import FlowmlOperator

        return FlowmlOperator
    if name in {"ParentRun", "parent_run"}:
        from flowml_airflow import parent

        return getattr(parent, name)
    msg = f"module 'flowml_airflow' has no attribute {name!r}"
    raise AttributeError(msg)
