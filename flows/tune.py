"""Search for the best boosted trees on a table, and promote them only if they beat the champion.

python flows/tune.py [--data table.csv --target column --trials 20]; started again in the same week it goes on
"""

import argparse
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
from sklearn import datasets, ensemble, metrics, model_selection, pipeline

import flowml
import train
from flowml import Better, Choice, Cron, Deployment, Float, Int, flow, gate, task

MODEL = "classifier"  # as flows/train.py registers it


@task
def fit_fold(rows: pd.DataFrame, target: str, rate: float, leaves: int, weight: str | None) -> dict[str, float]:
    """Cross-validate one choice; others that are better at a fold already end it there."""
    folds, scores = model_selection.StratifiedKFold(3, shuffle=True, random_state=0), []
    for step, (train_rows, test_rows) in enumerate(folds.split(rows, rows[target])):
        chosen = trees(rate, leaves, weight)
        model = train.fit.fn(chosen, rows.iloc[train_rows], target)
        held_out = rows.iloc[test_rows]
        chances = model.predict_proba(held_out.drop(columns=target))[:, 1]
        scores.append(metrics.roc_auc_score(held_out[target], chances))
        flowml.report(step, sum(scores) / len(scores))
    return {"auc": sum(scores) / len(scores)}


@task
def refit(rows: pd.DataFrame, target: str, rate: float, leaves: int, weight: str | None) -> pipeline.Pipeline:
    return train.fit.fn(trees(rate, leaves, weight), rows, target)


def trees(rate: float, leaves: int, weight: str | None) -> ensemble.HistGradientBoostingClassifier:
    return ensemble.HistGradientBoostingClassifier(
        learning_rate=rate, max_leaf_nodes=leaves, class_weight=weight, max_iter=40, random_state=0
    )


@flow
def tuning(data: Path | None = None, target: str = "target", trials: int = 20) -> dict[str, float | bool]:
    table = datasets.load_breast_cancer(as_frame=True).frame if data is None else pd.read_csv(data)
    rows, held_out = train.split(train.validate(table, target), target).values()
    study = flowml.tune(
        fit_fold,
        rows,
        target,
        rate=Float(0.01, 0.5, log=True),
        leaves=Int(4, 32),
        weight=Choice(None, "balanced"),
        maximize="auc",
        trials=trials,
        parallel=2,
        name=f"{MODEL} {datetime.now(timezone.utc):%G week %V}",
    )
    model = refit(rows, target, **study.best.params)
    verdict = gate(model, held_out, target, against=f"{MODEL}@champion", rules=[Better("roc_auc")], resamples=200)
    if verdict:
        train.register(model, held_out, target)
    return {"auc": study.best.value, "promoted": verdict.passed}


every_week = Deployment(tuning, "every-week", schedule=Cron("0 3 * * 0"))

if __name__ == "__main__":
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--data", type=Path)
    cli.add_argument("--target", default="target")
    cli.add_argument("--trials", type=int, default=20)
    given = cli.parse_args()
    if given.data and not given.data.is_file():
        cli.exit(2, f"tune.py: there is no file {given.data}\n")
    tuning(**vars(given))
