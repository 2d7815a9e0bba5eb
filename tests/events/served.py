"""The example flows that start on events, served in a process of their own."""

import sys
from pathlib import Path

import prefect

sys.path.insert(0, str(Path(__file__).parents[2] / "flows"))

import nightly
import score

if __name__ == "__main__":
    prefect.serve(
        nightly.nightly.to_deployment("on-event", triggers=[one.automation_trigger() for one in nightly.TRIGGERS]),
        score.scoring.to_deployment("on-event", triggers=[one.automation_trigger() for one in score.TRIGGERS]),
    )
