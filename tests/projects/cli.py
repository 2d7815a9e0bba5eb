"""A command with options for the store and the experiment, called twice in one process with other values."""

import json
import sys

import click
import mlflow
import pandas as pd
from mlflow import MlflowClient
from prefect import flow, task
from sklearn.datasets import make_regression
from sklearn.linear_model import Lasso


@task
def sample(noise):
    """Make up some data."""
    return make_regression(80, 4, noise=noise, random_state=9)


@task
def shrink(data, alpha):
    """Fit one model and return its score."""
    X, y = data
    with mlflow.start_run(run_name=f"alpha {alpha}"):
        model = Lasso(alpha).fit(X, y)
        mlflow.log_params({"alpha": alpha, "selection": model.selection})
        mlflow.log_metrics({"r2": model.score(X, y), "zeros": int((model.coef_ == 0).sum())})
        mlflow.log_text(",".join(f"{weight:.3f}" for weight in model.coef_), "weights.csv")
        return model.score(X, y)


@task
def table(experiment, rows):
    """Return the best scores of the experiment."""
    found = mlflow.search_runs(experiment_names=[experiment], order_by=["metrics.r2 DESC"], max_results=rows)
    scores: pd.DataFrame = found[["tags.mlflow.runName", "metrics.r2", "status"]].round(4)
    return scores.to_numpy().tolist()


@flow(name="lasso")
def path(alphas, noise, experiment):
    """Fit for each strength."""
    data = sample(noise)
    best = max(shrink(data, alpha) for alpha in alphas)
    return {"best": round(best, 4), "table": table(experiment, len(alphas))}


@click.command()
@click.option("--tracking-uri", required=True)
@click.option("--experiment", default="lasso-path")
@click.option("--alpha", "alphas", type=float, multiple=True, default=[1.0])
@click.option("--noise", type=float, default=5.0)
def cli(tracking_uri, experiment, alphas, noise):
    """Fit lassos and compare them."""
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment(experiment)
    return path(list(alphas), noise, experiment)


if __name__ == "__main__":
    first, second = sys.argv[1], "sqlite:///second.db"
    calls = [
        ["--tracking-uri", first, "--experiment", "quiet", "--alpha", "0.1", "--alpha", "2", "--noise", "1"],
        ["--tracking-uri", second, "--experiment", "loud", "--alpha", "0.5", "--alpha", "8", "--noise", "40"],
        ["--tracking-uri", first, "--alpha", "3"],
    ]
    said = [cli.main(call, standalone_mode=False) for call in calls]
    there = [
        sorted(found.name for found in MlflowClient(uri).search_experiments() if found.name in {"quiet", "loud"})
        for uri in (first, second)
    ]
    print(json.dumps({"said": said, "there": there}, sort_keys=True))  # noqa: T201 - what the test reads
