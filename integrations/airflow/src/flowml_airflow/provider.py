"""What Airflow is told of this package, through its entry point."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return what the package provides."""
    return {
        "package-name": "airflow-provider-flowml",
        "name": "flowml",
        "description": "Runs flows tracked by flowml, in an interpreter of their own.",
        "versions": ["0.1.0"],
        "task-decorators": [{"name": "flowml", "class-name": "flowml_airflow.decorator.flowml_task"}],
        "extra-links": ["flowml_airflow.links.FlowRunInPrefect", "flowml_airflow.links.RunInMlflow"],
    }
