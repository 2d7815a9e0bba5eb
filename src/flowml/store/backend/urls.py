"""Where MLflow's UI shows a run or a model; opened as model training, which its switch in the corner calls it."""

from __future__ import annotations

from urllib.parse import quote

NOTE = "mlflow.note.content"
"""The tag that MLflow's UI shows as the run's description."""

FLOWS = "tags.`flowml.kind` = 'flow'"
"""The filter that lets flow runs through."""

# Without it the UI opens every run in the view that was last used in that browser, at first that of GenAI.
_VIEW = "?workflowType=machine_learning"


def of_run(experiment_id: str, run_id: str, artifact: str = "") -> str:
    """Return a run's page, or that of one of its artifacts, as the end of the UI's address: a link inside the UI."""
    tab = f"/artifacts/{quote(artifact)}" if artifact else ""
    return f"#/experiments/{experiment_id}/runs/{run_id}{tab}{_VIEW}"


def of_trace(experiment_id: str, trace_id: str) -> str:
    """Return a trace's page, likewise."""
    return f"#/experiments/{experiment_id}/traces?selectedEvaluationId={trace_id}"


def of_flows(experiment_id: str | None, saved_view: str | None = None) -> str:
    """Return the table of an experiment's flow runs, likewise; that of all experiments, if it is not known which.

    Args:
        experiment_id: The experiment.
        saved_view: The id of a view that is saved there, which has a filter of its own.
    """
    if experiment_id is None:
        return f"#/experiments{_VIEW}"
    shown = f"viewStateShareKey={saved_view}" if saved_view else f"searchFilter={quote(FLOWS)}"
    return f"#/experiments/{experiment_id}/runs{_VIEW}&{shown}"


def of_model_version(name: str, version: str) -> str:
    """Return the page of a registered model's version, likewise."""
    return f"#/models/{quote(name, safe='')}/versions/{version}{_VIEW}"


def of_version(model: str, version: str) -> str:
    """Return the page of a version of a registered model, or of a prompt: ``prompts:/<name>``."""
    if not model.startswith("prompts:/"):
        return of_model_version(model, version)
    return f"#/prompts/{quote(model.removeprefix('prompts:/'), safe='')}?promptVersion={version}"


def under(ui: str, page: str) -> str:
    """Return a page's whole address."""
    return f"{ui.rstrip('/')}/{page}"
