"""scikit-learn's autologging in one task, in a run opened by hand; what it logged is read back."""

import json

import mlflow
from mlflow import MlflowClient
from prefect import flow, task
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

EXPERIMENT = "tumours"


@task
def features():
    """Take some columns of the data."""
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return X[["mean radius", "mean texture", "mean smoothness"]], y


@task
def fit(X, y):
    """Fit with autologging."""
    mlflow.sklearn.autolog(log_datasets=False, registered_model_name="tumours")
    with mlflow.start_run(run_name="autologged", description="what autologging sees") as run:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.5)).fit(X, y)
        model.score(X, y)
    mlflow.sklearn.autolog(disable=True)
    return model, run.info.run_id


@task
def fit_again(X, y):
    """Fit without it."""
    with mlflow.start_run(run_name="by hand"):
        model = LogisticRegression(C=2.0, max_iter=2000).fit(X, y)
        mlflow.log_metric("accuracy", model.score(X, y))
    return model


@task
def read_back(run_id):
    """Read what was logged of a run."""
    client = MlflowClient()
    run = client.get_run(run_id)
    models = client.search_logged_models([run.info.experiment_id])
    loaded = mlflow.sklearn.load_model(f"runs:/{run_id}/model")
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "params": {name: run.data.params[name] for name in ("logisticregression__C", "standardscaler__with_mean")},
        "metrics": {name: round(value, 6) for name, value in run.data.metrics.items()},
        "models": [[model.name, model.source_run_id == run_id] for model in models],
        "steps": [name for name, _ in loaded.steps],
        "last": mlflow.last_active_run().info.run_name,
    }


@flow(name="autologged flow")
def autologged():
    """Fit twice, once with autologging, and return the last estimator too."""
    mlflow.set_experiment(EXPERIMENT)
    X, y = features()
    model, run_id = fit(X, y)
    again = fit_again(X, y)
    return read_back(run_id), model, again


if __name__ == "__main__":
    read, model, again = autologged()
    client = MlflowClient()
    (version,) = client.search_model_versions("name = 'tumours'")
    observed = {
        "read": read,
        "again": again.get_params()["C"],
        "model": [type(step).__name__ for _, step in model.steps],
        "version": [version.version, client.get_run(version.run_id).info.run_name],
    }
    print(json.dumps(observed, sort_keys=True))  # noqa: T201 - what the test reads
