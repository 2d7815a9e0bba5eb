"""What runs in processes of its own: `python -m tests.everywhere.served deployment | task_worker`."""

from __future__ import annotations

import sys

from prefect.task_worker import serve

from tests.everywhere.probe import probe
from tests.everywhere.ways import DEPLOYMENT, served_flow

if __name__ == "__main__":
    if sys.argv[1] == "deployment":
        served_flow.serve(name=DEPLOYMENT.partition("/")[2], pause_on_shutdown=False, print_starting_message=False)
    else:
        serve(probe, limit=1)
