"""Trips by taxi: read, train some candidates, register the best; the flow's first lines say where all of it goes."""

import json
import pickle
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import xgboost as xgb
from mlflow import MlflowClient
from prefect import flow, task
from sklearn.feature_extraction import DictVectorizer
from sklearn.metrics import root_mean_squared_error

EXPERIMENT, MODEL = "taxi-duration", "taxi-duration-model"
CANDIDATES = [{"max_depth": 2, "eta": 0.2}, {"max_depth": 5, "eta": 0.4}, {"max_depth": 3, "eta": 0.05}]
FEATURES = ["pickup", "dropoff", "distance"]


@task(retries=2, retry_delay_seconds=1)
def read(month, rows=400):
    """Make up the trips of a month."""
    numbers = np.random.default_rng(month)
    trips = pd.DataFrame(
        {
            "pickup": numbers.choice(["harbour", "station", "museum"], rows),
            "dropoff": numbers.choice(["airport", "station", "park"], rows),
            "distance": numbers.gamma(2.0, 3.0, rows).round(2),
        }
    )
    trips["duration"] = 3 * trips.distance + 5 * (trips.dropoff == "airport") + numbers.normal(0, 1, rows)
    return trips


@task
def train(trips, held_out):
    """Fit each candidate in a run of its own and return the lowest error."""
    vectorizer = DictVectorizer()
    X_train = vectorizer.fit_transform(trips[FEATURES].to_dict(orient="records"))
    X_test = vectorizer.transform(held_out[FEATURES].to_dict(orient="records"))
    training, testing = xgb.DMatrix(X_train, trips.duration), xgb.DMatrix(X_test, held_out.duration)
    Path("preprocessor.b").write_bytes(pickle.dumps(vectorizer))
    errors = []
    for number, candidate in enumerate(CANDIDATES):
        with mlflow.start_run(run_name=f"candidate {number}"):
            mlflow.set_tag("developer", "night shift")
            for name, value in candidate.items():
                mlflow.log_param(name, value)
            history = {}
            booster = xgb.train(
                {**candidate, "objective": "reg:squarederror", "nthread": 1, "seed": 5},
                training,
                num_boost_round=12,
                evals=[(testing, "validation")],
                evals_result=history,
                verbose_eval=False,
            )
            for step, value in enumerate(history["validation"]["rmse"]):
                mlflow.log_metric("validation_rmse", value, step=step)
            errors.append(root_mean_squared_error(held_out.duration, booster.predict(testing)))
            mlflow.log_metric("rmse", errors[-1])
            mlflow.log_artifact("preprocessor.b", artifact_path="preprocessor")
            mlflow.xgboost.log_model(booster, name="model", pip_requirements=["xgboost"])
    return {"rmse": min(errors)}


@task
def register():
    """Register the model of the run with the lowest error."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    best = client.search_runs([experiment.experiment_id], order_by=["metrics.rmse ASC"], max_results=1)[0]
    version = mlflow.register_model(f"runs:/{best.info.run_id}/model", MODEL, tags={"by": "pipeline"})
    return best.info.run_id, version.version


@flow(name="taxi training")
def taxi(tracking_uri, month=3):
    """Train on one month, validate on the next."""
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment(EXPERIMENT)
    lowest = train(read(month), read(month + 1))
    return lowest, *register()


if __name__ == "__main__":
    lowest, run_id, version = taxi(sys.argv[1])
    client = MlflowClient(sys.argv[1])
    best = client.get_run(run_id)
    registered = client.get_model_version(MODEL, version)
    vectorizer = pickle.loads(Path(client.download_artifacts(run_id, "preprocessor/preprocessor.b")).read_bytes())
    experiments = client.search_experiments(filter_string=f"name = '{EXPERIMENT}'")
    observed = {
        "lowest": round(lowest["rmse"], 6),
        "best": [best.info.run_name, best.info.status, best.data.params, round(best.data.metrics["rmse"], 6)],
        "version": [version, registered.tags, registered.run_id == run_id],
        "features": vectorizer.get_feature_names_out().tolist(),
        "steps": len(client.get_metric_history(run_id, "validation_rmse")),
        "experiments": len(experiments),
        "uri is mine": mlflow.get_tracking_uri() == sys.argv[1],
    }
    print(json.dumps(observed, sort_keys=True))  # noqa: T201 - what the test reads
