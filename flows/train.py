"""Train several classifiers on a table, compare them on held-out rows, register the best one.

python flows/train.py [--data table.csv --target column]; by default the breast-cancer data that ships with scikit-learn
"""

import argparse
from pathlib import Path
from typing import Annotated

import pandas as pd
from matplotlib.figure import Figure
from prefect import unmapped
from sklearn import compose, datasets, ensemble, impute, linear_model, metrics, model_selection, pipeline, preprocessing

from flowml import Model, flow, task

CANDIDATES = [linear_model.LogisticRegression(C=c, max_iter=2000) for c in (0.1, 1.0)]
CANDIDATES += [ensemble.RandomForestClassifier(n_estimators=n, random_state=0) for n in (50, 200)]
CANDIDATES += [ensemble.GradientBoostingClassifier(learning_rate=rate, random_state=0) for rate in (0.05, 0.1)]
Champion = Annotated[pipeline.Pipeline, Model(register="classifier", alias="champion")]


@task
def validate(table: pd.DataFrame, target: str) -> pd.DataFrame:
    if table[target].nunique() != 2:
        raise ValueError(f"the target {target!r} has {table[target].nunique()} classes; this flow takes 2")
    return table.dropna(subset=[target]).drop_duplicates()


@task
def split(table: pd.DataFrame, target: str, test_size: float = 0.25) -> dict[str, pd.DataFrame]:
    halves = model_selection.train_test_split(table, test_size=test_size, stratify=table[target], random_state=0)
    return dict(zip(("train", "test"), halves, strict=True))


@task(task_run_name="fit {candidate}")
def fit(candidate, train: pd.DataFrame, target: str) -> pipeline.Pipeline:
    numbers, words = (compose.make_column_selector(dtype_include=kind) for kind in ("number", ["object", "string"]))
    scale = pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler())
    encode = preprocessing.OneHotEncoder(handle_unknown="ignore")
    prepare = compose.make_column_transformer((scale, numbers), (encode, words))
    return pipeline.make_pipeline(prepare, candidate).fit(train.drop(columns=target), train[target])


@task
def evaluate(model: pipeline.Pipeline, test: pd.DataFrame, target: str) -> dict[str, float]:
    inputs, truth, chances = test.drop(columns=target), test[target], model.predict_proba(test.drop(columns=target))
    auc, loss = metrics.roc_auc_score(truth, chances[:, 1]), metrics.log_loss(truth, chances)
    return {"accuracy": model.score(inputs, truth), "roc_auc": auc, "log_loss": loss}


@task
def register(model: pipeline.Pipeline, test: pd.DataFrame, target: str) -> tuple[Champion, dict]:
    shown = {"confusion_matrix": metrics.ConfusionMatrixDisplay, "roc_curve": metrics.RocCurveDisplay}
    held_out = model, test.drop(columns=target), test[target]
    return model, {name: kind.from_estimator(*held_out, ax=Figure().subplots()).figure_ for name, kind in shown.items()}


@flow
def training(data: Path | None = None, target: str = "target") -> dict[str, float | str]:
    table = datasets.load_breast_cancer(as_frame=True).frame if data is None else pd.read_csv(data)
    train, test = split(validate(table, target), target).values()
    models = fit.map(CANDIDATES, unmapped(train), target).result()
    scores = evaluate.map(models, unmapped(test), target).result()
    best = max(range(len(models)), key=lambda number: scores[number]["roc_auc"])
    register(models[best], test, target)
    return {"winner": str(models[best][-1]), **scores[best]}


if __name__ == "__main__":
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--data", type=Path)
    cli.add_argument("--target", default="target")
    given = cli.parse_args()
    if given.data and not given.data.is_file():
        cli.exit(2, f"train.py: there is no file {given.data}\n")
    if given.data and given.target not in (columns := pd.read_csv(given.data, nrows=0).columns):
        cli.exit(2, f"train.py: there is no column {given.target!r}; there are {', '.join(columns)}\n")
    training(**vars(given))
