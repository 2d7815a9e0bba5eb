"""Prefect flows and tasks that track themselves in MLflow: ``from flowml import flow, task``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowml import describe
    from flowml.capture.disabled import disabled
    from flowml.capture.engine.tracked import Flow, MaterializingTask, Task
    from flowml.capture.inside import carry, current_run, flush, log, log_metrics, log_params, with_context
    from flowml.capture.ranks.distributed import distributed
    from flowml.capture.ranks.environment import child_environment
    from flowml.capture.reading import load_model, load_prompt
    from flowml.decorators import flow, materialize, task
    from flowml.deploy.deployment import Deployment
    from flowml.deploy.schedules import Cron, Interval, RRule
    from flowml.errors import (
        DeploymentError,
        EvaluationError,
        FlowmlError,
        OrchestrationError,
        RegistryError,
        ServingError,
        SettingsError,
        StackError,
        TrackingError,
        TuningError,
    )
    from flowml.events.notify import Notify
    from flowml.events.triggers import OnDataset, OnEvent, OnFile, OnMetric, OnModelPromoted, OnPromptPromoted
    from flowml.genai.budget import Budget
    from flowml.genai.evaluate import evaluate
    from flowml.genai.evaluation import Comparison, Evaluation
    from flowml.genai.traces import trace_metrics
    from flowml.options import Artifact, Dataset, Metric, Model, Param, Prompt, Skip, Track
    from flowml.records import CurrentRun
    from flowml.registry.approve import Approval, approve
    from flowml.registry.evaluation.metrics import OwnMetric
    from flowml.registry.evidence import Verdict
    from flowml.registry.forms import ReleaseForm
    from flowml.registry.gate import gate
    from flowml.registry.moves import Promotion
    from flowml.registry.promoting import promote, rollback
    from flowml.registry.registering import RegisteredVersion, register
    from flowml.registry.rules import AtLeast, AtMost, Better, NotWorse, Significant
    from flowml.secrets.logs import mask_logs
    from flowml.serving.deploying import ServedModel, deploy_model
    from flowml.serving.monitoring.kept import served_requests
    from flowml.serving.monitoring.measured import served_metrics
    from flowml.serving.monitoring.table_drift import Drift, measure_drift
    from flowml.serving.monitoring.tables import ServedTables, served_tables
    from flowml.serving.monitoring.training import training_rows
    from flowml.store.parent_run import airflow_parent
    from flowml.tuning.reporting import report
    from flowml.tuning.spaces import Choice, Float, Int
    from flowml.tuning.study import Study
    from flowml.tuning.tune import tune

__all__ = [
    "Approval",
    "Artifact",
    "AtLeast",
    "AtMost",
    "Better",
    "Budget",
    "Choice",
    "Comparison",
    "Cron",
    "CurrentRun",
    "Dataset",
    "Deployment",
    "DeploymentError",
    "Drift",
    "Evaluation",
    "EvaluationError",
    "Float",
    "Flow",
    "FlowmlError",
    "Int",
    "Interval",
    "MaterializingTask",
    "Metric",
    "Model",
    "NotWorse",
    "Notify",
    "OnDataset",
    "OnEvent",
    "OnFile",
    "OnMetric",
    "OnModelPromoted",
    "OnPromptPromoted",
    "OrchestrationError",
    "OwnMetric",
    "Param",
    "Promotion",
    "Prompt",
    "RRule",
    "RegisteredVersion",
    "RegistryError",
    "ReleaseForm",
    "ServedModel",
    "ServedTables",
    "ServingError",
    "SettingsError",
    "Significant",
    "Skip",
    "StackError",
    "Study",
    "Task",
    "Track",
    "TrackingError",
    "TuningError",
    "Verdict",
    "airflow_parent",
    "approve",
    "carry",
    "child_environment",
    "current_run",
    "deploy_model",
    "describe",
    "disabled",
    "distributed",
    "evaluate",
    "flow",
    "flush",
    "gate",
    "load_model",
    "load_prompt",
    "log",
    "log_metrics",
    "log_params",
    "mask_logs",
    "materialize",
    "measure_drift",
    "promote",
    "register",
    "report",
    "rollback",
    "served_metrics",
    "served_requests",
    "served_tables",
    "task",
    "trace_metrics",
    "training_rows",
    "tune",
    "with_context",
]

_HOMES = {
    "capture.disabled": ["disabled"],
    "capture.inside": ["carry", "current_run", "flush", "log", "log_metrics", "log_params", "with_context"],
    "capture.ranks.distributed": ["distributed"],
    "capture.ranks.environment": ["child_environment"],
    "capture.reading": ["load_model", "load_prompt"],
    "capture.engine.tracked": ["Flow", "MaterializingTask", "Task"],
    "decorators": ["flow", "materialize", "task"],
    "deploy.deployment": ["Deployment"],
    "deploy.schedules": ["Cron", "Interval", "RRule"],
    "errors": [
        *("DeploymentError", "EvaluationError", "FlowmlError", "OrchestrationError", "RegistryError", "ServingError"),
        *("SettingsError", "StackError", "TrackingError", "TuningError"),
    ],
    "events.notify": ["Notify"],
    "events.triggers": ["OnDataset", "OnEvent", "OnFile", "OnMetric", "OnModelPromoted", "OnPromptPromoted"],
    "genai.budget": ["Budget"],
    "genai.evaluate": ["evaluate"],
    "genai.traces": ["trace_metrics"],
    "genai.evaluation": ["Comparison", "Evaluation"],
    "options": ["Artifact", "Dataset", "Metric", "Model", "Param", "Prompt", "Skip", "Track"],
    "records": ["CurrentRun"],
    "registry.approve": ["Approval", "approve"],
    "registry.forms": ["ReleaseForm"],
    "registry.evaluation.metrics": ["OwnMetric"],
    "registry.evidence": ["Verdict"],
    "registry.gate": ["gate"],
    "registry.rules": ["AtLeast", "AtMost", "Better", "NotWorse", "Significant"],
    "registry.moves": ["Promotion"],
    "registry.promoting": ["promote", "rollback"],
    "registry.registering": ["RegisteredVersion", "register"],
    "secrets.logs": ["mask_logs"],
    "serving.deploying": ["ServedModel", "deploy_model"],
    "serving.monitoring.kept": ["served_requests"],
    "serving.monitoring.measured": ["served_metrics"],
    "serving.monitoring.table_drift": ["Drift", "measure_drift"],
    "serving.monitoring.tables": ["ServedTables", "served_tables"],
    "serving.monitoring.training": ["training_rows"],
    "store.parent_run": ["airflow_parent"],
    "tuning.reporting": ["report"],
    "tuning.spaces": ["Choice", "Float", "Int"],
    "tuning.study": ["Study"],
    "tuning.tune": ["tune"],
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: MLflow and the command line import the package without Prefect."""
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"flowml.{home}"), name)
            globals()[name] = value
            return value
    if name == "describe":
        return import_module("flowml.describe")
    msg = f"module 'flowml' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
