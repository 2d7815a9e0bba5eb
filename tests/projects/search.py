"""A search as with hyperopt or Optuna: a run round it in the flow, one nested run for each trial, the best refitted."""

import itertools
import json

import mlflow
import numpy as np
from mlflow import MlflowClient
from prefect import flow, task
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split

EXPERIMENT, MODEL = "diabetes-search", "diabetes-booster"
SPACE = {"max_depth": [1, 2, 4], "learning_rate": [0.05, 0.3]}


def minimize(objective, space, trials):
    """Ask an objective at the points of a grid, and return the best of them."""
    points = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())][:trials]
    return points[int(np.argmin([objective(**point) for point in points]))]


@task
def load():
    """Split the data."""
    X, y = load_diabetes(return_X_y=True)
    return train_test_split(X, y, test_size=0.3, random_state=11)


@task
def optimize(data, trials):
    """Try some hyper-parameters, each in a run of its own."""
    X_train, X_test, y_train, y_test = data

    def objective(**params):
        with mlflow.start_run(run_name="depth {max_depth}, rate {learning_rate}".format(**params), nested=True):
            mlflow.set_tag("family", "boosting")
            mlflow.log_params(params)
            booster = GradientBoostingRegressor(n_estimators=20, random_state=3, **params).fit(X_train, y_train)
            for step, predicted in enumerate(booster.staged_predict(X_test)):
                mlflow.log_metric("rmse", root_mean_squared_error(y_test, predicted), step=step)
            return root_mean_squared_error(y_test, predicted)

    return minimize(objective, SPACE, trials)


@task
def winner():
    """Look up the trial with the lowest error."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return client.search_runs([experiment.experiment_id], order_by=["metrics.rmse ASC"], max_results=1)[0]


@task
def refit(data, run):
    """Fit the best once more on all data and register it."""
    X, y = np.vstack(data[:2]), np.concatenate(data[2:])
    depth, rate = int(run.data.params["max_depth"]), float(run.data.params["learning_rate"])
    with mlflow.start_run(run_name="final", nested=True):
        final = GradientBoostingRegressor(n_estimators=20, random_state=3, max_depth=depth, learning_rate=rate)
        mlflow.log_metric("r2", final.fit(X, y).score(X, y))
        mlflow.sklearn.log_model(
            final,
            name="booster",
            registered_model_name=MODEL,
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
            input_example=X[:2],
        )
    return final


@flow
def search(trials=6):
    """Search, and refit what is found."""
    mlflow.set_experiment(EXPERIMENT)
    data = load()
    with mlflow.start_run(run_name="search") as parent:
        mlflow.log_param("trials", trials)
        best = optimize(data, trials)
        found = winner()
        mlflow.log_params({f"best_{name}": value for name, value in best.items()})
        mlflow.log_metric("best_rmse", found.data.metrics["rmse"])
        final = refit(data, found)
    return parent.info.run_id, best, found, round(float(final.predict(data[1][:1])[0]), 6)


if __name__ == "__main__":
    parent_id, best, found, predicted = search()
    client = MlflowClient()
    parent = client.get_run(parent_id)
    trials = f"tags.mlflow.parentRunId = '{parent_id}' and attributes.run_name LIKE 'depth%'"
    below = client.search_runs([parent.info.experiment_id], trials)
    (version,) = client.search_model_versions(f"name = '{MODEL}'")
    observed = {
        "best": best,
        "found": [found.info.run_name, found.info.status, found.data.params],
        "below the parent": sorted(run.info.run_name for run in below),
        "parent": [parent.info.status, parent.data.params, parent.data.metrics],
        "predicted": predicted,
        "version": [version.version, client.get_run(version.run_id).info.run_name],
        "active": mlflow.active_run() is not None,
    }
    print(json.dumps(observed, sort_keys=True))  # noqa: T201 - what the test reads
