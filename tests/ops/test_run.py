"""``flowml run``: a flow out of a file, to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL
from tests.ops.conftest import Said
from tests.runs import run_of, runs_of

from flowml.cli.exit_codes import exit_on_error

ROOT = Path(__file__).parents[2]
Flowml = Callable[..., Said]

FILE = """
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from flowml import flow, task


class Split(BaseModel):
    share: float
    by: str = "row"


@task
def half(n: int) -> float:
    return n / 2


@flow
def training(n: int, names: list[str] = ["a"], day: date | None = None, where: Path = Path(), *,
             split: Split = Split(share=0.5), kind: Literal["a", "b"] = "a", label: str = "") -> dict[str, float]:
    assert isinstance(where, Path)
    assert day is None or isinstance(day, date)
    return {"half": half(n), "names": len(names), "share": split.share, "label": len(label)}


@flow
def failing(text: str = "") -> None:
    raise RuntimeError("no [bold] luck")


@flow
async def waiting(n: int = 1) -> float:
    return n + 0.5


@flow
def yielding(n: int = 2):
    for number in range(n):
        yield {"loss": 1 / (number + 1)}
"""


@pytest.fixture
def file(client: MlflowClient, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A file with several flows."""
    (project / "work.py").write_text(FILE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "work.py"
    for name in [name for name, module in sys.modules.items() if getattr(module, "__file__", None) == "work.py"]:
        del sys.modules[name]
    sys.modules.pop("work", None)


def test_a_flow_is_run(client: MlflowClient, flowml: Flowml, file: str) -> None:
    """Parameters come by their types, as text or JSON; the end says how it went, and where to see it."""
    words = ["n=3", 'names=["x", "y"]', "day=2026-01-02", "where=some/place", 'split={"share": 0.25}', "label=3"]
    said = flowml("run", f"{file}:training", *[word for pair in words for word in ("--param", pair)])
    assert said.code == 0, said
    run = run_of(client, "training")
    assert run.data.metrics["names"] == 2
    assert (run.data.metrics["share"], run.data.metrics["label"]) == (0.25, 1)
    assert f"Flow     training / {run.info.run_name}: Completed in " in said.out
    assert "Runs     1 Completed\n" in said.out
    assert "half=1.5" in said.out
    assert f"Prefect  {run.data.tags['prefect.flow_run_url']}\n" in said.out
    assert f"ui --backend-store-uri {client.tracking_uri}\n" in said.out


def test_null_is_none(client: MlflowClient, flowml: Flowml, file: str) -> None:
    """A parameter that may be None is given as null; a text stays what it is."""
    assert flowml("run", f"{file}:training", "-p", "n=1", "-p", "day=null", "-p", "label=null").code == 0
    assert run_of(client, "training").data.metrics["label"] == 4


def test_a_failure_ends_with_1(client: MlflowClient, flowml: Flowml, file: str) -> None:
    """The error is said as it is."""
    said = flowml("run", f"{file}:failing")
    assert said.code == 1
    assert ": Failed in " in said.out
    assert "Error    RuntimeError: no [bold] luck\n" in said.out


@pytest.mark.parametrize("name, metric", [("waiting", 1.5), ("yielding", 0.5)])
def test_any_kind_of_flow(client: MlflowClient, flowml: Flowml, file: str, name: str, metric: float) -> None:
    """Async flows and generators run to their end too."""
    said = flowml("run", f"{file}:{name}")
    assert (said.code, ": Completed in " in said.out) == (0, True)
    assert metric in run_of(client, name).data.metrics.values()


@pytest.mark.usefixtures("client")
def test_the_only_flow_needs_no_name(flowml: Flowml, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or module with one flow of its own is enough; what it imports does not count."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (project / "others.py").write_text("from flowml import flow\n@flow\ndef other(): ...\n")
    (project / "only.py").write_text("from flowml import flow\nfrom others import other\n@flow\ndef one(): ...\n")
    assert "one / " in flowml("run", "only.py").out
    assert "one / " in flowml("run", "only").out
    assert "other / " in flowml("run", "others:other").out
    for name in ("only", "others"):
        sys.modules.pop(name)


CALLING = """
import asyncio
from flowml import flow

@flow
def training(n: int = 1) -> float:
    return n / 2

@flow
def outer() -> float:
    return training(5)

@flow
async def waiting() -> float:
    return 1.0

training()
asyncio.run(waiting())
"""


@pytest.mark.usefixtures("project")
def test_a_file_that_calls_its_flow_runs_it_once(client: MlflowClient, flowml: Flowml) -> None:
    """The call in the file is the run, whose summary is told; parameters make another one, and a subflow is none."""
    Path("calling.py").write_text(CALLING)
    for name in ("training", "waiting"):
        said = flowml("run", f"calling.py:{name}")
        assert (said.code, f"Flow     {name} / " in said.out) == (0, True)
        assert f"calling.py calls {name} itself when it is loaded, so it runs once." in said.err
        assert len(runs_of(client, name)) == 1
        sys.modules.pop("calling")
        for run in runs_of(client, "training") + runs_of(client, "waiting"):
            client.delete_run(run.info.run_id)
    said = flowml("run", "calling.py:training", "-p", "n=4")
    assert "once more with these parameters" in said.err
    assert [run.data.params["n"] for run in runs_of(client, "training")] == ["1", "4"]
    sys.modules.pop("calling")
    said = flowml("run", "calling.py:outer")
    assert (said.code, "calls outer" in said.err) == (0, False)
    assert len(runs_of(client, "outer")) == 1
    sys.modules.pop("calling")


WRONG = {
    ("worc.py:training",): "There is no file worc.py. Did you mean 'work.py'?",
    ("worc:training",): "There is no module 'worc', nor a file",
    (".:training",): "'.' names neither a file nor a module",
    ("work.py:trainin",): "work.py has no flow 'trainin'. Did you mean 'training'?",
    ("work.py",): "work.py defines 4 flows; name one: work.py:training, ",
    ("empty.py",): "empty.py defines no flow",
    ("work.py:training",): "The flow 'training' needs 'n': --param n=...",
    ("work.py:training", "-p", "n=3", "-p", "nmes=[]"): "has no parameter 'nmes'. Did you mean 'names'?",
    ("work.py:training", "-p", "n=x"): "The parameter 'n' cannot be 'x': Input should be a valid integer",
    ("work.py:training", "-p", "n=1", "-p", "kind=c"): "The parameter 'kind' cannot be 'c': Input should be 'a' or 'b'",
    ("work.py:training", "-p", "n=1", "-p", "split={}"): "The parameter 'split' cannot be '{}': share: Field required",
    ("work.py:training", "-p", "n"): "--param cannot be 'n': it is a name and a value, as in --param n=3",
    ("work.py:training", "-p", "n=1", "-p", "n=2"): "The parameter 'n' is given twice",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_what_cannot_be_run(
    client: MlflowClient, flowml: Flowml, file: str, project: Path, words: tuple[str, ...]
) -> None:
    """It ends with 2 and says why, with the nearest name; nothing is run."""
    (project / "empty.py").write_text("import json\n")
    said = flowml("run", *words)
    assert said.code == 2
    assert WRONG[words] in said.err
    assert client.search_runs([one.experiment_id for one in client.search_experiments()]) == []


@pytest.mark.usefixtures("client")
def test_a_file_that_fails_shows_where(flowml: Flowml, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own traceback is printed, and the command ends with 1."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (project / "bad.py").write_text("import json\n1 / 0\n")
    said = flowml("run", "bad.py")
    assert said.code == 1
    assert "ZeroDivisionError" in said.err
    assert "bad.py failed when it was loaded" in said.err


@pytest.mark.parametrize("line", ["int('x')", "len(1)", "{}['x']"])
def test_a_module_that_fails_shows_where(
    flowml: Flowml, project: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """Whatever error it is: it is the module's own, and not taken for a wrong name."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (project / "bad_module.py").write_text(f"import json\n{line}\n")
    said = flowml("run", "bad_module:training")
    assert said.code == 1
    assert f"    {line}\n" in said.err
    assert "bad_module failed when it was loaded" in said.err


@pytest.mark.parametrize("error", [KeyError("x"), IndexError("x")])
def test_a_mistake_of_a_command_keeps_its_traceback(error: LookupError) -> None:
    """Only what a command says on purpose ends in one line."""
    with pytest.raises(type(error)), exit_on_error():
        raise error


SLOW = """
import time
from flowml import flow, task

@task
def step(n: int) -> float:
    time.sleep(2.5)
    return n * 1.5

@flow
def slow() -> None:
    for n in range(2):
        step(n)
"""


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_running_flow_is_watched(client: MlflowClient, project: Path) -> None:
    """In a terminal its tasks are seen while they run, logs stay whole lines, and the summary comes at the end."""
    (project / "slow.py").write_text(SLOW)
    shown = in_terminal(project, "run", "slow.py", "--watch", PREFECT_API_URL=str(PREFECT_API_URL.value()))
    before_the_end = shown.partition("Flow     slow / ")[0]
    assert "step-" in before_the_end
    assert "Running" in before_the_end
    assert "step=1.5" in before_the_end or "step=0" in before_the_end
    assert ": Completed in " in shown
    assert "Runs     2 Completed" in shown


def in_terminal(folder: Path, *words: str, **variables: str) -> str:
    """Run the command in a terminal of its own, and return all that it showed."""
    import pty  # Windows has none

    ours, its = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(
        [sys.executable, "-m", "flowml.cli.app", *words],
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=folder,
        env={**environment, **variables},
    ) as process:
        os.close(its)
        shown: list[bytes] = []

        def read() -> None:
            with suppress(OSError):  # the terminal is closed
                while said := os.read(ours, 65536):
                    shown.append(said)

        reader = threading.Thread(target=read)
        reader.start()
        assert process.wait(timeout=200) == 0, b"".join(shown).decode(errors="replace")
        reader.join(timeout=10)
    os.close(ours)
    return b"".join(shown).decode(errors="replace")


def test_the_view_is_only_for_terminals(client: MlflowClient, flowml: Flowml, file: str) -> None:
    """With --watch in a pipe there is the summary and nothing else that draws."""
    said = flowml("run", f"{file}:training", "-p", "n=2", "--watch")
    assert said.code == 0
    assert "\x1b" not in said.out
    assert json.loads(flowml("show", "training", "--json").out)["metrics"]["half"] == 1
