"""Two flows with an experiment each in one process, one task that both use, and each called twice."""

import json
import sys

import mlflow
from mlflow import MlflowClient
from prefect import flow, task
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression


@task
def flowers(columns=4):
    """Take some columns of the data."""
    X, y = load_iris(return_X_y=True)
    return X[:, :columns], y


@task
def note(name, value, **params):
    """Keep one number in a run; the task of both flows."""
    with mlflow.start_run(run_name=name) as run:
        mlflow.log_params(params)
        mlflow.log_metric("quality", value)
    return run.info.run_id


@task
def count(experiment, name):
    """Count the runs of a name in an experiment."""
    return len(mlflow.search_runs(experiment_names=[experiment], filter_string=f"run_name = '{name}'"))


@flow
def cluster(groups):
    """Group the flowers."""
    mlflow.set_experiment("clusters")
    X, _ = flowers(2)
    inertia = KMeans(groups, n_init=1, random_state=4).fit(X).inertia_
    note("grouped", round(float(inertia), 4), groups=groups)
    return count("clusters", "grouped")


@flow
def classify(strength):
    """Tell the flowers apart, and note on the run afterwards how sure that is."""
    mlflow.set_experiment("classes")
    X, y = flowers()
    model = LogisticRegression(C=strength, max_iter=500).fit(X, y)
    run_id = note("told apart", round(float(model.score(X, y)), 4), strength=strength)
    MlflowClient().log_metric(run_id, "certainty", round(float(model.predict_proba(X).max(axis=1).mean()), 4))
    return count("classes", "told apart")


def everything():
    """Group with the flow that another script would import, then tell apart; both twice, in turn."""
    counted = []
    for groups, strength in ((2, 0.1), (3, 1.0)):
        counted.append([cluster(groups), classify(strength)])
    with mlflow.start_run(run_name="afterwards"):
        mlflow.log_metric("flows", 4)
    return counted


if __name__ == "__main__":
    mlflow.set_tracking_uri(sys.argv[1])
    counted = everything()
    client = MlflowClient()
    found = {}
    for name in ("clusters", "classes"):
        experiment = client.get_experiment_by_name(name)
        runs = client.search_runs([experiment.experiment_id], order_by=["metrics.quality ASC"], max_results=2)
        found[name] = [[run.info.run_name, run.info.status, run.data.params, run.data.metrics] for run in runs]
    last = mlflow.last_active_run()
    observed = {
        "counted": counted,
        "found": found,
        "last": [last.info.run_name, client.get_experiment(last.info.experiment_id).name],
    }
    print(json.dumps(observed, sort_keys=True))  # noqa: T201 - what the test reads
