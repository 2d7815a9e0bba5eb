"""Airflow's own names, which moved from 2.11 to 3."""

from __future__ import annotations

try:  # Airflow 3
    from airflow.sdk import BaseOperator, BaseOperatorLink
    from airflow.sdk.bases.decorator import DecoratedOperator, determine_kwargs, task_decorator_factory
    from airflow.sdk.definitions.context import context_merge
    from airflow.sdk.execution_time.xcom import XCom
except ImportError:  # Airflow 2.11
    from airflow.decorators.base import DecoratedOperator, task_decorator_factory
    from airflow.models import BaseOperator, BaseOperatorLink, XCom
    from airflow.utils.context import context_merge
    from airflow.utils.operator_helpers import determine_kwargs

try:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
except ImportError:
    from airflow.exceptions import AirflowException, AirflowFailException

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "BaseOperator",
    "BaseOperatorLink",
    "DecoratedOperator",
    "XCom",
    "context_merge",
    "determine_kwargs",
    "task_decorator_factory",
]
