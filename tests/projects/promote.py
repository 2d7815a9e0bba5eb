"""A model that is logged, registered and promoted by hand; what is not the best is cleared away afterwards."""

import json
import sys

import mlflow
from mlflow import MlflowClient
from prefect import flow, task
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

EXPERIMENT, MODEL, ALIAS = "wine", "wine-tree", "champion"

mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment(EXPERIMENT)
client = MlflowClient()


@task
def split():
    """Split the data."""
    X, y = load_wine(return_X_y=True, as_frame=True)
    return train_test_split(X, y, test_size=0.4, random_state=2)


@task
def train(data, depth):
    """Fit a tree and log it."""
    X_train, X_test, y_train, y_test = data
    with mlflow.start_run(run_name=f"tree {depth}", tags={"depth": str(depth)}) as run:
        tree = DecisionTreeClassifier(max_depth=depth, random_state=0).fit(X_train, y_train)
        mlflow.log_param("max_depth", depth)
        mlflow.log_metric("accuracy", tree.score(X_test, y_test))
        mlflow.log_dict({"leaves": int(tree.get_n_leaves())}, "tree.json")
        mlflow.sklearn.log_model(
            tree, name="model", serialization_format="cloudpickle", pip_requirements=["scikit-learn"]
        )
    return tree, run.info.run_id


@task
def register(run_id):
    """Make a version of the run's model."""
    return mlflow.register_model(f"runs:/{run_id}/model", MODEL).version


@task
def champion_accuracy():
    """Return how good the champion is, nothing if there is none."""
    try:
        champion = client.get_model_version_by_alias(MODEL, ALIAS)
    except mlflow.MlflowException:
        return 0.0
    return client.get_run(champion.run_id).data.metrics["accuracy"]


@task
def promote(version):
    """Make a version the champion, and mark the others."""
    client.set_registered_model_alias(MODEL, ALIAS, version)
    for other in client.search_model_versions(f"name = '{MODEL}'"):
        client.set_model_version_tag(MODEL, other.version, "archived", str(other.version != version).lower())


@task
def clear():
    """Delete all runs but the best, and the models of the others."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    best, *others = client.search_runs([experiment.experiment_id], order_by=["metrics.accuracy DESC"])
    for model in client.search_logged_models([experiment.experiment_id]):
        if model.source_run_id != best.info.run_id:
            client.delete_logged_model(model.model_id)
    for run in others:
        client.delete_run(run.info.run_id)
    return best


@flow
def promotion(depth):
    """Train a challenger; promote it if it beats the champion."""
    tree, run_id = train(split(), depth)
    version = register(run_id)
    challenger = client.get_run(run_id).data.metrics["accuracy"]
    promoted = challenger > champion_accuracy()
    if promoted:
        promote(version)
    return {"version": version, "promoted": promoted, "leaves": int(tree.get_n_leaves())}


@flow
def clearing():
    """Clear away, and go on with a note on what is left."""
    best = clear()
    with mlflow.start_run(run_id=best.info.run_id):
        mlflow.set_tag("kept", "true")
    return best.info.run_name


if __name__ == "__main__":
    said = [promotion(depth) for depth in (1, 3, 2)]
    kept = clearing()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    (left,) = client.search_runs([experiment.experiment_id], "tags.kept = 'true'")
    models = client.search_logged_models([experiment.experiment_id])
    observed = {
        "said": said,
        "left": [kept, left.info.run_name, left.info.status, left.data.tags["depth"], left.data.params],
        "models": [[model.name, model.source_run_id == left.info.run_id] for model in models],
        "champion": client.get_model_version_by_alias(MODEL, ALIAS).version,
        "versions": sorted([found.version, found.tags] for found in client.search_model_versions(f"name = '{MODEL}'")),
        "classes": mlflow.sklearn.load_model(f"models:/{MODEL}@{ALIAS}").classes_.tolist(),
    }
    print(json.dumps(observed, sort_keys=True))  # noqa: T201 - what the test reads
