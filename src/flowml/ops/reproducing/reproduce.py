"""Runs a flow again as one of its runs was made, in a place and an experiment of its own, and compares the two."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowml.ops import output
from flowml.ops.launch.loading import split as split_entry
from flowml.ops.launch.parameters import split
from flowml.ops.reproducing import environment, report, worktree
from flowml.ops.reproducing.causes import causes
from flowml.ops.reproducing.compare import Side, compare
from flowml.ops.reproducing.recorded import Recorded, original, recorded
from flowml.ops.reproducing.replay import Order
from flowml.ops.reproducing.running import Place, run_again
from flowml.ops.runs import Runs, connected, reading
from flowml.ops.view.finding import find
from flowml.store.backend.failures import explained

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a run is to be repeated.

    Attributes:
        python: A Python to run it with, in place of an environment that is built.
        here: Take the code and the packages that are here.
        keep: Leave what was built.
        tolerance: How far two metrics may be apart, as a part of the larger.
        words: Parameters, as they are typed, over those that were recorded.
        data: Files and folders that git does not have.
    """

    python: str | None = None
    here: bool = False
    keep: bool = False
    tolerance: float = 1e-6
    words: Sequence[str] = ()
    data: Sequence[str] = ()


def reproduce(named: str, wanted: Wanted, *, as_json: bool) -> bool:
    """Run a flow again, compare, and print what came of it.

    Args:
        named: The run, as `find` takes it.
        wanted: How.
        as_json: Print JSON.

    Returns:
        Whether all is equal.

    Raises:
        LookupError: If it cannot be run again.
        TrackingError: If MLflow cannot be reached.
    """
    _check(wanted)
    store = reading()
    found = find(store, named)
    if found.note:
        output.note(found.note)
    connection = connected()
    with explained(connection.uri):
        before = recorded(connection.client, original(connection.client, found.run))
    _check_parameters(before, wanted.words)
    with _folder(keep=wanted.keep) as folder, _place(before, wanted, folder) as place:
        entry = _entry(before, place.root)
        order = Order(entry, before.run.info.run_id, before.origin.parameters.values, list(wanted.words))
        again = run_again(before, order, place, folder, connection)
        folders = (str(place.root), str(_home(wanted, place)))
    with explained(connection.uri):
        after = recorded(connection.client, again)
        first, second = (_side(connection.client, one, folders) for one in (before.run, again))
    compared = compare(first, second, wanted.tolerance)
    kept = str(folder) if wanted.keep else None
    report.show(report.Result(before, after, compared, causes(before, after), kept), store, as_json=as_json)
    return not compared.differences


def _check(wanted: Wanted) -> None:
    if wanted.here and (wanted.python or wanted.data):
        msg = "--here takes the Python and the files that are here: --python and --data do not go with it."
        raise LookupError(msg)
    if not 0 <= wanted.tolerance < 1:
        msg = f"--tolerance cannot be {wanted.tolerance:g}: it is a part of a metric, from 0 to less than 1."
        raise LookupError(msg)


def _check_parameters(before: Recorded, words: Sequence[str]) -> None:
    """See that each parameter is known: what was masked or is no JSON must be given."""
    given, had = split(words, example="n"), before.origin.parameters
    unknown = {name: f"its secret was masked when it was recorded ({had.values[name]!r})" for name in had.masked}
    unknown |= had.missing
    left = {name: why for name, why in unknown.items() if name not in given}
    if left:
        whys = "; ".join(f"{name}: {why}" for name, why in left.items())
        wanted = " ".join(f"--param {name}=..." for name in left)
        msg = f"Not every parameter of the run is known. {whys}. Give {'it' if len(left) == 1 else 'them'}: {wanted}"
        raise LookupError(msg)


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="flowml-reproduce-")).resolve()
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _place(before: Recorded, wanted: Wanted, folder: Path) -> Iterator[Place]:
    """Make the place where the flow is run again."""
    if wanted.here:
        yield Place(_root_here(before), sys.executable, is_built=False)
        return
    repository = worktree.repository_here()
    worktree.check(repository, before)
    python = environment.check_python(wanted.python) if wanted.python else None
    if python is None:
        environment.uv()  # asked before anything is made
    code = worktree.checked_out(repository, before, folder / "code", data=wanted.data, keep=wanted.keep)
    with code as root:
        yield Place(root, python or environment.build(before, root, folder), is_built=python is None)


def _root_here(before: Recorded) -> Path:
    """Return the folder that the flow's file is named from."""
    file = split_entry(before.origin.entrypoint or "")[0]
    is_in_repository = file.endswith(".py") and not Path(file).is_absolute()
    is_known = before.origin.code.commit is not None
    return worktree.repository_here() if is_known or is_in_repository else Path.cwd().resolve()


def _home(wanted: Wanted, place: Place) -> Path:
    return place.root if wanted.here else worktree.repository_here()


def _entry(before: Recorded, root: Path) -> str:
    """Name the flow so that it is found from any folder.

    Raises:
        LookupError: If no name finds it, or there is no such file.
    """
    entry = before.origin.entrypoint
    if entry is None:
        name = before.run.info.run_name
        msg = f"The flow of the run {name!r} was made inside a function, or in no file: no name finds it."
        raise LookupError(msg)
    file, name = split_entry(entry)
    if not file.endswith(".py"):
        return entry
    if not (root / file).is_file():
        msg = f"There is no file {file} in {root}, in which the flow was."
        raise LookupError(msg)
    return f"{root / file}:{name}"


def _side(client: MlflowClient, run: Run, folders: tuple[str, ...]) -> Side:
    return Side(client.get_run(run.info.run_id), list(Runs(client).below(run)), folders)
