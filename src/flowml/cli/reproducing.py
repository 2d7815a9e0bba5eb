"""The commands that let a flow be run again elsewhere, as they are typed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cyclopts

from flowml.cli.exit_codes import exit_on_error

app = cyclopts.App()


@app.command
def reproduce(  # noqa: PLR0913 - options of a command, each by its name
    run: str,
    /,
    *,
    python: str | None = None,
    here: bool = False,
    param: Annotated[tuple[str, ...], cyclopts.Parameter(name=["--param", "-p"], negative="")] = (),
    data: Annotated[tuple[str, ...], cyclopts.Parameter(negative="")] = (),
    tolerance: float = 1e-6,
    keep: bool = False,
    json: bool = False,
) -> None:
    """Run a flow again as a run of it was made, and compare: 0 if all is equal, 1 if not, 2 if it cannot be run.

    The commit is checked out beside your files, with the changes that were made then; uv builds an environment with the
    same Python and packages. The new runs are in an experiment of their own. Models are registered nowhere.

    For example:

        flowml reproduce training
        flowml reproduce dancing-otter --here      with the code, data and packages of now
        flowml reproduce 3f2a --python .venv/bin/python --json

    Args:
        run: As `flowml show` takes it.
        python: Run it with this Python and its packages; build no environment.
        here: Run the code that is here, with the packages that are here.
        param: A parameter, as name=value, in place of the recorded one. May be repeated.
        data: A file or folder here that git does not have and the flow reads. May be repeated.
        tolerance: How far apart two metrics may be to be equal, as a part of the larger.
        keep: Leave the code and the environment that were made, and say where.
        json: Print JSON.
    """
    from flowml.ops.reproducing.reproduce import Wanted, reproduce

    with exit_on_error():
        wanted = Wanted(python, here=here, keep=keep, tolerance=tolerance, words=param, data=data)
        sys.exit(0 if reproduce(run, wanted, as_json=json) else 1)


@app.command
def export_mlproject(flow: str, /, *, to: Path = Path()) -> None:
    """Write an MLproject for a flow, so that `mlflow run` runs it; and the Python and packages that it takes.

    For example:

        flowml export-mlproject flows/train.py:training
        mlflow run . -e training -P target=label --env-manager local

    Args:
        flow: As `flowml run` takes it; without a name, all flows that are defined there.
        to: The project's folder, which the flow's file is in.
    """
    from flowml.ops.reproducing.mlproject import export

    with exit_on_error():
        export(flow, to)
