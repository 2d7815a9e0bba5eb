"""Serve the champion and ask it; promote another version, and ask again at the same address.

python flows/serve.py [--data table.csv --target column]; the server goes on when the flow has ended: flowml status,
flowml logs served@champion, flowml down
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import requests
from sklearn import datasets, linear_model, pipeline, preprocessing

import flowml
import train
from flowml import flow, task

MODEL = "served"


@task
def fit(rows: pd.DataFrame, target: str, c: float) -> pipeline.Pipeline:
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression(C=c))
    return model.fit(rows.drop(columns=target), rows[target])


@task
def ask(url: str, rows: pd.DataFrame, target: str) -> dict[str, Any]:
    """Ask for each row as a program in any language would; return who answered, and how often that was right."""
    asked = {"dataframe_split": rows.drop(columns=target).to_dict(orient="split")}
    answer = requests.post(f"{url}/invocations", json=asked, timeout=60)
    answer.raise_for_status()
    accuracy = (pd.Series(answer.json()["predictions"], rows.index) == rows[target]).mean()
    return {"version": answer.headers["X-Model-Version"], "accuracy": float(accuracy)}


@flow
def serving(data: Path | None = None, target: str = "target") -> list[dict[str, Any]]:
    table = datasets.load_breast_cancer(as_frame=True).frame if data is None else pd.read_csv(data)
    rows, held_out = train.split(train.validate(table, target), target).values()
    answers = []
    for c in (0.0001, 1.0):
        version = flowml.register(fit(rows, target, c), MODEL)
        flowml.promote(MODEL, version.version, why=f"C={c:g}")
        served = flowml.deploy_model(f"{MODEL}@champion")  # started once; it follows the alias
        answers.append(ask(served.url, held_out, target))
    return answers


if __name__ == "__main__":
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--data", type=Path)
    cli.add_argument("--target", default="target")
    given = cli.parse_args()
    if given.data and not given.data.is_file():
        cli.exit(2, f"serve.py: there is no file {given.data}\n")
    print(serving(**vars(given)))
