"""``flowml runs``, ``show``, ``open`` and ``compare``, on real runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tests.ops.conftest import Said
from tests.runs import run_of, runs_of

from flowml import ops, settings

Flowml = Callable[..., Said]


def first(client: MlflowClient):
    """Give the run of the first pipeline."""
    return runs_of(client, "pipeline")[0]


def test_a_line_for_each_flow_run(history: MlflowClient, flowml: Flowml) -> None:
    """Newest first, without the flows that flows called, parted by tabs, with nothing that steers a terminal."""
    lines = [line.split("\t") for line in flowml("runs").out.splitlines()]
    assert [line[:3] for line in lines] == [
        ["it's \N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}broken", "broken", "Failed"],
        ["same[blue]", "named", "Completed"],
        ["same[blue]", "named", "Completed"],
        ["run-of-2", "pipeline", "Completed"],
        ["run-of-1", "pipeline", "Completed"],
    ]
    assert lines[3][5].startswith("accuracy=0.2  ")
    assert lines[3][6] == runs_of(history, "pipeline")[1].data.tags["prefect.flow_run_url"]
    assert lines[3][7] == "-"


def test_only_some_runs(history: MlflowClient, flowml: Flowml) -> None:
    """Those of one flow, the last ones, also those that flows called."""
    assert len(flowml("runs", "--flow", "pipeline").out.splitlines()) == 2
    assert flowml("runs", "--last", "1").out.startswith("it's ")
    everything = flowml("runs", "--subflows").out
    assert (len(everything.splitlines()), "inner-of-1" in everything) == (7, True)


def test_runs_as_json(history: MlflowClient, flowml: Flowml, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids, times, all metrics and both pages, as plain values."""
    monkeypatch.setenv("FLOWML_MLFLOW_UI_URL", "https://mlflow.example.org")
    settings.reload()
    (told,) = json.loads(flowml("runs", "--flow", "pipeline", "--last", "1", "--json").out)
    run = runs_of(history, "pipeline")[1]
    assert told["mlflow_run_id"] == run.info.run_id
    assert told["prefect_flow_run_id"] == run.data.tags["prefect.flow_run_id"]
    assert told["metrics"] == run.data.metrics
    assert run.info.run_id in told["mlflow_url"]
    assert told["mlflow_url"].startswith("https://mlflow.example.org/")
    assert (told["state"], told["seconds"] > 0) == ("Completed", True)


def test_a_tree_of_all_below(history: MlflowClient, flowml: Flowml) -> None:
    """Attempts, cached results, tasks in tasks, flows in flows and runs by hand, each below its caller."""
    lines = flowml("show", "run-of-1").out.splitlines()
    told = [line.split("\t") for line in lines if "\t" in line]
    shape = [(len(name) - len(name.lstrip()), name.strip().rsplit("-", 1)[0], *rest[:1]) for name, *rest in told]
    assert shape == [
        (0, "run-of", "Completed"),
        (2, "flaky", "Retrying"),
        (2, "flaky", "Completed"),
        (2, "cached", "Completed"),
        (2, "cached", "Cached"),
        (2, "outer", "Completed"),
        (4, "by [red]hand[/]", "Completed"),
        (4, "add", "Completed"),
        (2, "inner-of", "Completed"),
        (4, "add", "Completed"),
    ]
    assert told[1][3] == "attempt 1 of 2, superseded, ValueError: 1"
    assert told[2][3:] == ["attempt 2 of 2", "flaky=0.5"]
    assert (told[4][3], told[6][3]) == ("cached", "opened by hand")
    assert lines[-2] == f"Prefect  {first(history).data.tags['prefect.flow_run_url']}"
    assert f"ui --backend-store-uri {history.tracking_uri}" in lines[-1]


WAYS: dict[str, Callable[[MlflowClient], str]] = {
    "Prefect's id": lambda client: first(client).data.tags["prefect.flow_run_id"],
    "the beginning of it": lambda client: first(client).data.tags["prefect.flow_run_id"][:13],
    "MLflow's id": lambda client: first(client).info.run_id,
    "the beginning of that": lambda client: first(client).info.run_id[:12],
    "its name": lambda client: str(first(client).info.run_name),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_has_many_names(history: MlflowClient, flowml: Flowml, way: str) -> None:
    """Ids of both sides, whole or begun, and its name lead to the same run."""
    told = json.loads(flowml("show", WAYS[way](history), "--json").out)
    assert told["name"] == "run-of-1"
    assert [child["task"] for child in told["children"]] == ["flaky", "flaky", "cached", "cached", "outer", None]
    assert [child["superseded"] for child in told["children"][:2]] == [True, False]


def test_a_tasks_run_is_shown_too(history: MlflowClient, flowml: Flowml) -> None:
    """By its task run's id in Prefect; of its attempts the last."""
    attempts = [run for run in runs_of(history, "flaky") if run.data.metrics.get("flaky") == 0.5]
    told = json.loads(flowml("show", attempts[0].data.tags["prefect.task_run_id"], "--json").out)
    assert (told["mlflow_run_id"], told["attempt"]) == (attempts[0].info.run_id, 2)


def test_the_newest_of_several_is_meant(history: MlflowClient, flowml: Flowml) -> None:
    """Of runs with the same name, and of a flow's, the newest is shown, and that is said."""
    said = flowml("show", "same[blue]", "--json")
    assert json.loads(said.out)["mlflow_run_id"] == runs_of(history, "named")[1].info.run_id
    assert "Several flow runs are named 'same[blue]'; this is the newest." in flowml("show", "same[blue]").err
    said = flowml("show", "pipeline")
    assert said.out.startswith("run-of-2\t")
    assert said.err == "This is the newest run of the flow 'pipeline'.\n"


def test_a_name_with_a_quote_is_found(history: MlflowClient, flowml: Flowml) -> None:
    """A name that MLflow's filters have to quote leads to its run, whose error is shown as it is."""
    said = flowml("show", "it's \x1b[31mred\tbroken")
    assert "ValueError: no [bold] luck" in said.out
    assert "\x1b" not in said.out


@pytest.mark.parametrize("command", ["show", "open", "compare"])
def test_what_is_not_there(history: MlflowClient, flowml: Flowml, command: str) -> None:
    """It ends with 2, and names what may have been meant."""
    words = ["pipelin", "named"] if command == "compare" else ["pipelin"]
    said = flowml(command, *words)
    assert (said.code, said.out) == (2, "")
    assert "no run 'pipelin'" in said.err
    assert "Did you mean 'pipeline'?" in said.err


def test_an_ambiguous_beginning_is_refused(history: MlflowClient, flowml: Flowml) -> None:
    """Where several ids begin so, none is taken."""
    ids = {run.data.tags["prefect.task_run_id"] for name in ("flaky", "cached") for run in runs_of(history, name)}
    start = next(one[:8] for one in ids if sum(other[:8] == one[:8] for other in ids) > 1)  # they begin with the time
    said = flowml("show", start)
    assert said.code == 2
    assert said.err.startswith(f"flowml: Several runs have ids that begin with '{start}'")


def test_wrong_words(history: MlflowClient, flowml: Flowml) -> None:
    """What cannot be meant ends with 2, and says why."""
    said = flowml("runs", "--flow", "pipelines")
    assert said.code == 2
    assert said.err.startswith("flowml: MLflow at sqlite:")
    assert said.err.endswith("holds no run of a flow named 'pipelines'. Did you mean 'pipeline'?\n")
    assert flowml("runs", "--last", "0").code == 2
    assert flowml("compare", "named").code == 2
    assert flowml("open", "named", "--in", "nowhere").code == 2


@pytest.mark.usefixtures("client")
def test_a_store_without_runs(flowml: Flowml) -> None:
    """There is no line, and no run to show."""
    assert flowml("runs") == ("", "", 0)
    assert flowml("runs", "--json").out == "[]\n"
    said = flowml("show", "nothing")
    assert said.code == 2
    assert "nor a run of a flow named 'nothing'. Run a flow first." in said.err


def test_side_by_side(history: MlflowClient, flowml: Flowml) -> None:
    """Params and metrics in rows, a star where they differ; only those with --diff."""
    said = flowml("compare", "run-of-1", "run-of-2")
    rows = {line.split("\t")[2]: line.split("\t") for line in said.out.splitlines()[1:]}
    assert rows["note"] == ["", "param", "note", "[bold]", "[bold]"]
    assert rows["accuracy"] == ["*", "metric", "accuracy", "0.1", "0.2"]
    assert "note" not in flowml("compare", "run-of-1", "run-of-2", "--diff").out
    told = json.loads(flowml("compare", "run-of-1", "run-of-2", "named", "--json").out)
    assert told["params"]["n"] == ["1", "2", None]
    assert "loss" in told["different"]["metrics"]
    assert [run["name"] for run in told["runs"]] == ["run-of-1", "run-of-2", "same[blue]"]


def test_a_page_is_opened(
    history: MlflowClient, flowml: Flowml, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The address is printed, and given to the browser."""
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    page = run_of(history, "broken").data.tags["prefect.flow_run_url"]
    assert flowml("open", "broken", "--in", "prefect") == (f"{page}\n", "", 0)
    assert seen.read_text() == f"{page}\n"


def test_without_a_browser_the_address_is_printed(
    history: MlflowClient, flowml: Flowml, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing could show a page, the address is all; where there is no page, that is said."""
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    said = flowml("open", "broken")
    assert said.code == 2
    assert "Start one with `flowml up`" in said.err
    monkeypatch.setenv("FLOWML_MLFLOW_UI_URL", "https://mlflow.example.org")
    settings.reload()
    assert run_of(history, "broken").info.run_id in flowml("open", "broken").out


def test_in_a_terminal_it_is_a_table(
    history: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With lines that lead from caller to called, and names as they are."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    ops.show("run-of-1")
    shown = capsys.readouterr().out
    assert "│  ├─ by [red]hand[/]" in shown
    assert "└─ inner-of-1" in shown
    ops.show("same[blue]")
    assert "\nsame[blue] " in capsys.readouterr().out
