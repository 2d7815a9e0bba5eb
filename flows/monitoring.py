"""Evaluate the champion on the table as it is now; flows/nightly.py trains anew where it has become worse.

python flows/monitoring.py [--data table.csv --target column]; by default the breast-cancer data of scikit-learn
"""

import argparse
from pathlib import Path

import pandas as pd
from sklearn import datasets

import nightly
import train
from flowml import Cron, Deployment, flow


@flow
def monitoring(data: Path | None = None, target: str = "target") -> None:
    table = datasets.load_breast_cancer(as_frame=True).frame if data is None else pd.read_csv(data)
    champion = nightly.load_champion(nightly.MODEL)
    if champion is not None:
        nightly.evaluate_champion(champion, train.validate(table, target), target)


hourly = Deployment(monitoring, "hourly", schedule=Cron("0 * * * *"))

if __name__ == "__main__":
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--data", type=Path)
    cli.add_argument("--target", default="target")
    given = cli.parse_args()
    if given.data and not given.data.is_file():
        cli.exit(2, f"monitoring.py: there is no file {given.data}\n")
    monitoring(**vars(given))
