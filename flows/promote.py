"""Train, compare with the champion, ask a person, promote, try it out; back to the old one if that fails.

python flows/promote.py [--data table.csv --target column] [--timeout seconds]; its steps are those of flows/train.py

Served (flowml serve flows/promote.py) the flow is suspended while it asks; here it waits in its process. Answer in
Prefect's UI, or: flowml approve <flow run> --why "..." [--reject]
"""

import argparse
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from prefect import unmapped
from sklearn import datasets, pipeline

import flowml
import train
from flowml import AtLeast, Cron, Deployment, NotWorse, Skip, flow, task

MODEL = "churn"
RULES = [AtLeast("roc_auc", 0.9), NotWorse("roc_auc", tolerance=0.005), NotWorse("log_loss", tolerance=0.02)]


@task(persist_result=True)  # the code of a suspended flow runs again from the top; what was trained stays
def choose(rows: pd.DataFrame, held_out: pd.DataFrame, target: str) -> pipeline.Pipeline:
    """Fit all candidates of flows/train.py and return the best one on the held-out rows."""
    models = train.fit.map(train.CANDIDATES, unmapped(rows), target).result()
    scores = train.evaluate.map(models, unmapped(held_out), target).result()
    return models[max(range(len(models)), key=lambda number: scores[number]["roc_auc"])]


@task
def smoke_test(model: Annotated[Any, Skip()], rows: pd.DataFrame) -> int:
    predictions = model.predict(rows)
    if len(set(predictions)) < 2:
        raise ValueError(f"the champion predicts {predictions[0]!r} for each of {len(rows)} rows")
    return len(predictions)


@flow
def promotion(data: Path | None = None, target: str = "target", timeout: float = 86400.0) -> dict[str, Any]:
    table = datasets.load_breast_cancer(as_frame=True).frame if data is None else pd.read_csv(data)
    rows, held_out = train.split(train.validate(table, target), target).values()
    candidate = flowml.register(choose(rows, held_out, target), MODEL, alias="challenger")
    verdict = flowml.gate(
        f"{MODEL}/{candidate.version}", held_out, target, against=f"{MODEL}@champion", rules=RULES, resamples=200
    )
    if not verdict:
        return {"version": candidate.version, "outcome": "failed the gate"}
    decision = flowml.approve(MODEL, candidate, timeout=timeout, why=str(verdict))
    if not decision.approved:
        return {"version": candidate.version, "outcome": decision.outcome}
    flowml.promote(MODEL, candidate.version, why=decision.why, who=decision.who)
    try:
        smoke_test(flowml.load_model(f"{MODEL}@champion"), held_out.drop(columns=target))
    except ValueError as error:
        flowml.rollback(MODEL, why=str(error))
        raise
    return {"version": candidate.version, "outcome": "promoted"}


every_week = Deployment(promotion, "every-week", schedule=Cron("0 6 * * 1"))

if __name__ == "__main__":
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--data", type=Path)
    cli.add_argument("--target", default="target")
    cli.add_argument("--timeout", type=float, default=86400.0)
    given = cli.parse_args()
    if given.data and not given.data.is_file():
        cli.exit(2, f"promote.py: there is no file {given.data}\n")
    print(promotion(**vars(given)))
