"""``@task.flowml``: a function that gives a flow its parameters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

from flowml_airflow.operator import FlowmlOperator
from flowml_airflow.versions import (
    AirflowFailException,
    DecoratedOperator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)


class _DecoratedFlowmlOperator(DecoratedOperator, FlowmlOperator):
    """Calls a function in Airflow's interpreter, and runs a flow with the parameters that it returns."""

    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *FlowmlOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **FlowmlOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.flowml"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, **kwargs)

    def execute(self, context: Any) -> Any:
        """Ask the function, and run the flow."""
        context_merge(context, self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, context)
        parameters = self.python_callable(*self.op_args, **kwargs)
        if parameters is not None and not isinstance(parameters, Mapping):
            msg = (
                f"The function {self.python_callable.__name__} returned {parameters!r}. With @task.flowml it returns "
                "the flow's parameters as a dictionary, or None if it has none."
            )
            raise AirflowFailException(msg)
        self.parameters = {**(self.parameters or {}), **(parameters or {})}
        return FlowmlOperator.execute(self, context)


def flowml_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
    """Make a task of a function that returns a flow's parameters.

    Args:
        python_callable: The function.
        **kwargs: What `FlowmlOperator` takes.

    Example:
        >>> @task.flowml(flow="flows/train.py:training", python="/venvs/flowml/bin/python")
        ... def train(rows: int) -> dict:
        ...     return {"rows": rows}
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=_DecoratedFlowmlOperator, **kwargs
    )
