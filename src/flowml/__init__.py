"""Prefect flows and tasks that track themselves in MLflow: ``from flowml import flow, task``."""

from flowml import describe
from flowml.capture.log import current_run, log
from flowml.capture.prefect import Flow, MaterializingTask, Task
from flowml.capture.session import disabled
from flowml.decorators import flow, materialize, task
from flowml.errors import FlowmlError, SettingsError, TrackingError
from flowml.options import Artifact, Dataset, Metric, Model, Param, Skip, Track
from flowml.records import CurrentRun

__all__ = [
    "Artifact",
    "CurrentRun",
    "Dataset",
    "Flow",
    "FlowmlError",
    "MaterializingTask",
    "Metric",
    "Model",
    "Param",
    "SettingsError",
    "Skip",
    "Task",
    "Track",
    "TrackingError",
    "current_run",
    "describe",
    "disabled",
    "flow",
    "log",
    "materialize",
    "task",
]
