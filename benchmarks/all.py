"""All benchmarks, one after the other, on the disk, on a RAM disk and against servers: what `make bench` runs.

Each runs in a process of its own with a Prefect server and stores of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent
_RAM = Path("/dev/shm")  # noqa: S108 - its name on Linux
_ON_RAM = f"--folder={_RAM}"
_RUNS = [
    "start.py",
    "serving.py",
    "sequence.py",
    "sequence.py --body=0.05",
    f"sequence.py {_ON_RAM}",
    "sequence.py --store=http",
    "sequence.py --store=http --body=0.05",
    "sequence.py --store=http --workers=1",
    "models.py",
    "first_models.py",
    "training.py",
    "tracing.py",
    "lineage.py",
    "fanout.py",
    f"fanout.py {_ON_RAM}",
    "fanout.py --tasks=2000 --rounds=1",
    "growth.py",
    "tune.py",
    "system_metrics.py",
    "describe.py",
]


def main(given: argparse.Namespace) -> int:
    """Run them; return how many failed to run or to count right."""
    told, failed = [], 0
    for command in _RUNS:
        if _ON_RAM in command and not _RAM.is_dir():
            continue
        script, *arguments = command.split()
        arguments += ["--json"] * given.json
        if not given.json:
            print(f"$ python benchmarks/{command}", flush=True)
        done = subprocess.run(
            [sys.executable, _HERE / script, *arguments], stdout=subprocess.PIPE if given.json else None, check=False
        )
        failed += done.returncode != 0
        if given.json and not done.returncode:
            told.append({"command": command, **json.loads(done.stdout)})
    if given.json:
        print(json.dumps(told, indent=2))
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    sys.exit(main(parser.parse_args()))
