"""Train again, and promote the best candidate only if it beats the champion on the same held-out rows.

python flows/nightly.py [--data table.csv --target column]; its steps are those of flows/train.py

Where rows are added to the table, the champion may have been fitted on some that are held out now: it is then the
harder to beat. Hold out rows that are newer than all models if that matters.
"""

import argparse
from pathlib import Path
from typing import Annotated, Any

import mlflow
import pandas as pd
from prefect import unmapped
from sklearn import datasets

import train
from flowml import Better, Cron, Deployment, OnMetric, Skip, flow, gate, task

MODEL = "classifier"  # as flows/train.py registers it


@task
def load_champion(model: str) -> Annotated[Any, Skip()]:
    try:
        return mlflow.sklearn.load_model(f"models:/{model}@champion")
    except mlflow.MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None  # there is none yet
        raise


@task
def evaluate_champion(champion: Annotated[Any, Skip()], test: pd.DataFrame, target: str) -> dict[str, float]:
    return train.evaluate.fn(champion, test, target)


@flow
def nightly(data: Path | None = None, target: str = "target", least_gain: float = 0.0) -> dict[str, Any]:
    table = datasets.load_breast_cancer(as_frame=True).frame if data is None else pd.read_csv(data)
    rows, held_out = train.split(train.validate(table, target), target).values()
    models = train.fit.map(train.CANDIDATES, unmapped(rows), target).result()
    scores = [score["roc_auc"] for score in train.evaluate.map(models, unmapped(held_out), target).result()]
    best = models[scores.index(max(scores))]
    rules = [Better("roc_auc", by=least_gain)]
    verdict = gate(best, held_out, target, against=f"{MODEL}@champion", rules=rules, resamples=200)
    if verdict:
        train.register(best, held_out, target)
    told = {"challenger": max(scores), "promoted": verdict.passed}
    to_beat = verdict.results[0].champion
    return told if to_beat is None else {**told, "champion": to_beat}


# Each night at two, and as soon as flows/monitoring.py finds the champion worse than this.
is_bad = OnMetric("evaluate_champion.roc_auc", below=0.9, flow="monitoring")
every_night = Deployment(nightly, "every-night", schedule=Cron("0 2 * * *"), triggers=[is_bad])

if __name__ == "__main__":
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--data", type=Path)
    cli.add_argument("--target", default="target")
    given = cli.parse_args()
    if given.data and not given.data.is_file():
        cli.exit(2, f"nightly.py: there is no file {given.data}\n")
    nightly(**vars(given))
