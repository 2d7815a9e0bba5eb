"""Score a table with the champion in one batch; a new champion starts it.

python flows/score.py [--data table.csv] [--out predictions.csv]; by default the breast-cancer data of scikit-learn
"""

import argparse
from pathlib import Path
from typing import Annotated, Any

import mlflow
import pandas as pd
from sklearn import datasets

from flowml import Deployment, OnModelPromoted, Skip, flow, task


@task
def load(model: str) -> tuple[Annotated[Any, Skip()], dict[str, str]]:
    version = mlflow.MlflowClient().get_model_version_by_alias(model, "champion")
    champion = mlflow.pyfunc.load_model(f"models:/{model}/{version.version}")
    return champion, {"version": str(version.version), "run_id": version.run_id}


@task
def read(data: Path | None) -> pd.DataFrame:
    return datasets.load_breast_cancer(as_frame=True).data if data is None else pd.read_csv(data)


@task
def predict(champion: Annotated[Any, Skip()], rows: pd.DataFrame) -> pd.DataFrame:
    columns = champion.metadata.signature.inputs.input_names() if champion.metadata.signature else list(rows.columns)
    missing = [column for column in columns if column not in rows.columns]
    if missing:
        raise ValueError(f"the champion needs the columns {', '.join(missing)}; there are {', '.join(rows.columns)}")
    return rows.assign(prediction=champion.predict(rows[columns]))


@task
def save(predictions: pd.DataFrame, out: Path) -> Path:
    predictions.to_csv(out, index=False)
    return out


@flow
def scoring(model: str = "classifier", data: Path | None = None, out: Path = Path("predictions.csv")) -> dict[str, Any]:
    champion, about = load(model)
    predictions = predict(champion, read(data))
    save(predictions, out)
    return {"rows": len(predictions), "champion": about["version"]}


# A new champion starts it, whether flows/nightly.py or a person made it so.
on_champion = Deployment(scoring, "on-champion", triggers=[OnModelPromoted("classifier", alias="champion")])

if __name__ == "__main__":
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--data", type=Path)
    cli.add_argument("--out", type=Path, default=Path("predictions.csv"))
    given = cli.parse_args()
    if given.data and not given.data.is_file():
        cli.exit(2, f"score.py: there is no file {given.data}\n")
    scoring(**vars(given))
