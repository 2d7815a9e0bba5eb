"""The run in MLflow that a DAG run has, for tasks that run in Airflow's own interpreter."""

from __future__ import annotations
