"""What waits for MLflow is on the disk: it outlives the process, and arrives once."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import random
import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from sklearn.linear_model import LinearRegression
from tests.store.killed import journals, killed, run

from flowml import TrackingError, records, settings
from flowml.options import Track
from flowml.store import Run, open_run
from flowml.store.backend import sql_tables
from flowml.store.backend.connection import Connection, connect
from flowml.store.journal import journal, on_disk
from flowml.store.journal.left import waiting
from flowml.store.journal.on_disk import FORM
from flowml.store.recovery import Recovery
from flowml.store.recovery import recover as send_journals
from flowml.store.sending import sql_insert, writer

OWNER = records.Identity(
    name="a run", kind="task", owner="tests", attempt=1, started=0, source=None, tags={}, tag=("", "")
)
LOGGED = """
root = open_run(owner("root", "flow"), track=Track(), parent=None)
root.put([records.Param("by", "hand"), records.Metric("own", 5.0)])
task = open_run(owner("task"), track=Track(), parent=root)
task.put([records.Param("c", "0.1"), records.Tag("team", "red"), records.Text("notes/a.txt", "hello")])
task.put([records.Metric("loss", value, step) for step, value in enumerate([0.5, float("nan"), 0.25])])
task.put([records.Dataset("table", "input", "abc123", "pandas.DataFrame", {"mlflow_colspec": []}, {"num_rows": 3})])
"""
A_MODEL = """
from sklearn.linear_model import LinearRegression
model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
task.put([records.Model("line", model, "sklearn", register="lines", alias="best")])
given = open_run(owner("given"), track=Track(), parent=root)
given.put([records.ModelInput("line", model), records.Metric("r2", 1.0)])
given.close("FINISHED", 3000)
"""


NOT_ENDED: set[str] = set()


def recover(paths: Iterable[Path]) -> Recovery:
    """Send journals; runs that did not end are noted in `NOT_ENDED`, and count as closed."""

    def close(_: Connection, run_ids: Collection[str]) -> int:
        NOT_ENDED.update(run_ids)
        return len(run_ids)

    NOT_ENDED.clear()
    return send_journals(paths, close=close)


def runs() -> dict[str, MlflowRun]:
    """Return all runs of the project, by name; there is one of each."""
    client = connect().client
    found = client.search_runs([each.experiment_id for each in client.search_experiments()])
    named = {str(each.info.run_name): each for each in found}
    assert len(named) == len(found)
    return named


def losses_of(name: str, run_id: str) -> list[tuple[int, float]]:
    """Return a metric's history."""
    return [(each.step, each.value) for each in connect().client.get_metric_history(run_id, name)]


def test_a_clean_end_leaves_nothing(project: Path) -> None:
    """When MLflow has everything there is no journal any more, and no folder of it."""
    opened = open_run(OWNER, track=Track(), parent=None)
    opened.put([records.Metric("loss", 0.5), records.Text("a.txt", "a")])
    (journal,) = journals(project)
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.parent.stat().st_mode) == 0o700
    opened.close("FINISHED", 1)
    opened.settle()
    assert not journal.parent.exists()


@pytest.mark.parametrize(
    "before",
    [
        "",
        "from flowml.store.sending import creation\ncreation.ensure(connect(), task.out)\n",
        "task.info\nwriter_of(connect()).flush()\n",
    ],
    ids=["nothing sent", "made for plain calls", "a part sent"],
)
def test_what_a_killed_process_logged_arrives_once(project: Path, before: str) -> None:
    """All that was logged before SIGKILL is in MLflow after sending the journal, however often it is sent."""
    killed(f"{LOGGED}{before}hold()\n{A_MODEL}task.put([records.Metric('late', 1.0)])\ndie()", project)
    found = recover(journals(project))
    assert (found.problems, found.waiting, len(found.sent)) == ([], 0, 3)
    assert journals(project) == []
    for again in range(2):
        root, task, given = (runs()[name] for name in ("root", "task", "given"))
        assert again or {root.info.run_id, task.info.run_id} == NOT_ENDED
        assert (root.data.params, root.data.metrics["own"]) == ({"by": "hand"}, 5.0)
        assert {each.data.tags["flowml.root_run_id"] for each in (root, task, given)} == {root.info.run_id}
        assert (task.data.params, task.data.tags["team"], task.data.metrics["late"]) == ({"c": "0.1"}, "red", 1.0)
        assert task.data.tags["mlflow.parentRunId"] == root.info.run_id
        history = losses_of("loss", task.info.run_id)
        assert [step for step, _ in history] == [0, 1, 2]
        assert math.isnan(history[1][1])
        assert [each.dataset.name for each in task.inputs.dataset_inputs] == ["table"]
        artifacts = [each.path for each in connect().client.list_artifacts(task.info.run_id, "notes")]
        assert artifacts == ["notes/a.txt"]
        assert given.info.status == "FINISHED"
        (logged,) = connect().client.search_logged_models([task.info.experiment_id])
        linked = connect().client.get_run(given.info.run_id).inputs.model_inputs
        assert [each.model_id for each in linked] == [logged.model_id]
        (version,) = connect().client.search_model_versions("name = 'lines'")
        assert version.run_id == task.info.run_id
        if not again:
            assert recover(journals(project)).sent == []


def test_a_journal_can_be_moved(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A project's journal is sent from another folder, with its files and models."""
    killed(f"{LOGGED}hold()\n{A_MODEL}die()", project)
    other = tmp_path_factory.mktemp("other")
    shutil.move(project / ".flowml" / "journal", other / "journal")
    found = recover(sorted((other / "journal").glob("*.db")))
    assert (found.problems, len(found.sent)) == ([], 3)
    assert len(connect().client.search_logged_models([runs()["task"].info.experiment_id])) == 1


def test_what_one_store_has_already_is_told_when_the_rest_goes_to_another(project: Path) -> None:
    """A sync to another store says of which runs the first has a part, and sends there what was still waiting."""
    a_part = "task.info\nwriter_of(connect()).flush()\nhold()\n"
    killed(f"{LOGGED}{a_part}task.put([records.Metric('late', 1.0)])\ndie()", project)
    before, other = runs(), MlflowClient(f"sqlite:///{project / 'other.db'}")
    found = send_journals(journals(project), to=other.tracking_uri)
    assert (found.problems, found.waiting, len(found.sent)) == ([], 0, 2)
    told = sorted(found.left_out)
    for name, line in zip(["root", "task"], told, strict=True):
        assert line.startswith(f"{name}: what {connect().uri} has of it already")
        assert before[name].info.run_id in line
    there = other.search_runs([each.experiment_id for each in other.search_experiments()])
    (task,) = [each for each in there if each.info.run_name == "task"]
    assert set(task.data.metrics) == {"late"}
    assert set(runs()["task"].data.metrics) == {"loss"}


def test_an_experiment_that_is_deleted_meanwhile_can_be_restored(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits of runs that MLflow has stays on the disk until their experiment is back."""
    monkeypatch.setenv("FLOWML_TIMEOUT", "1")
    settings.reload()
    killed(
        f"{LOGGED}task.info\nwriter_of(connect()).flush()\nhold()\n"
        "root.put([records.Metric('late', 2.0), records.Param('said', 'late')])\n"
        "task.put([records.Text('late.txt', 'x')])\nroot.close('FINISHED', 3000)\ndie()",
        project,
    )
    client = connect().client
    (experiment,) = {each.info.experiment_id for each in runs().values()}
    client.delete_experiment(experiment)
    for _ in range(2):
        found = recover(journals(project))
        assert found.waiting
        assert any(f"mlflow experiments restore --experiment-id {experiment}" in each for each in found.problems)
    client.restore_experiment(experiment)
    assert recover(journals(project)).problems == []
    found_runs = runs()
    assert found_runs["root"].data.metrics == {"own": 5.0, "late": 2.0}
    assert found_runs["root"].data.params == {"by": "hand", "said": "late"}
    assert found_runs["root"].info.status == "FINISHED"
    assert "late.txt" in {file.path for file in client.list_artifacts(found_runs["task"].info.run_id)}


def test_all_that_waits_of_a_deleted_experiment_arrives_when_it_is_restored(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of runs that never ended nothing is taken away while MLflow refuses it: metrics, datasets, models."""
    monkeypatch.setenv("FLOWML_TIMEOUT", "1")
    settings.reload()
    late = (
        "task.put([records.Metric('late', 2.0), records.Param('said', 'late'), records.Tag('who', 'me')])\n"
        "task.put([records.Dataset('more', 'input', 'abc124', 'pandas.DataFrame', {'mlflow_colspec': []}, {})])\n"
    )
    a_model = A_MODEL.partition("given =")[0]
    killed(f"{LOGGED}task.info\nwriter_of(connect()).flush()\nhold()\n{late}{a_model}die()", project)
    client = connect().client
    experiment = runs()["task"].info.experiment_id
    client.delete_experiment(experiment)
    for _ in range(2):
        found = recover(journals(project))
        assert (found.sent, found.closed, found.left_out) == ([], 0, [])
        assert any(f"mlflow experiments restore --experiment-id {experiment}" in each for each in found.problems)
    client.restore_experiment(experiment)
    found = recover(journals(project))
    assert (found.problems, found.waiting, len(found.sent)) == ([], 0, 2)
    task = runs()["task"]
    assert task.data.metrics["late"] == 2.0
    assert task.data.params == {"c": "0.1", "said": "late"}
    assert task.data.tags["who"] == "me"
    assert {each.dataset.name for each in task.inputs.dataset_inputs} == {"table", "more"}
    (version,) = client.search_model_versions("name = 'lines'")
    assert version.run_id == task.info.run_id
    (model,) = client.search_logged_models([experiment])
    assert client.list_logged_model_artifacts(model.model_id)


def test_a_project_can_be_moved(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits in a project that lies elsewhere now goes to its own store there; nothing is made where it was."""
    killed(f"{LOGGED}hold()\ndie()", project)
    here = tmp_path_factory.mktemp("here") / "project"
    shutil.move(project, here)
    monkeypatch.chdir(here)
    settings.reload()
    found = recover(journals(here))
    assert (found.problems, len(found.sent)) == ([], 2)
    assert runs().keys() == {"root", "task"}
    assert connect().uri == f"sqlite:///{here}/.flowml/mlflow.db"
    assert not project.exists()


def test_what_is_meant_for_a_file_that_is_not_there_waits_for_it(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Another project's store, on a disk that is missing now, is neither made anew nor taken for this project's own."""
    disk = tmp_path_factory.mktemp("disk")
    for place in (disk / "mlflow.db", disk / ".flowml" / "mlflow.db"):
        uri = f"sqlite:///{place}"
        killed(f"{LOGGED}root.info\nhold()\ndie()", project, MLFLOW_TRACKING_URI=uri)
        away = disk.rename(disk.with_name("unmounted"))
        found = recover(journals(project))
        assert (found.sent, found.waiting) == ([], 2)
        assert [f"{place} is not there" in each for each in found.problems] == [True]
        assert not disk.exists()
        away.rename(disk)
        found = recover(journals(project))
        assert (found.problems, found.waiting, len(found.sent)) == ([], 0, 2)
        client = MlflowClient(uri)
        there = client.search_runs([each.experiment_id for each in client.search_experiments()])
        assert {each.info.run_name for each in there} == {"root", "task"}
    assert runs() == {}


@pytest.mark.slow
def test_a_run_goes_under_one_of_another_journal(project: Path) -> None:
    """What two processes left is put together, whichever journal is read first."""
    under = (
        "caller = records.Caller(None, '')\n"
        "root = open_run(owner('root', 'flow'), track=Track(), parent=None)\n"
        "print(root.out.key, flush=True)\nhold()\ndie()"
    )
    key = run(f"hold()\n{under}", project).stdout.strip()
    child = (
        "from flowml.store.lazy_store import LazyStore\n"
        "from flowml.store.own_run import JoinedRun\n"
        "from flowml.store.waiting.queue import Outgoing\n"
        "hold()\nstore = LazyStore.at(connect())\n"
        f"above = JoinedRun(store, Outgoing(None, None, key={key!r}, store=store.place))\n"
        "open_run(owner('child'), track=Track(), parent=above).close('FINISHED', 5000)\ndie()"
    )
    killed(child, project)
    found = recover(reversed(journals(project)))
    assert (found.problems, found.waiting) == ([], 0)
    assert runs()["child"].data.tags["mlflow.parentRunId"] == runs()["root"].info.run_id


@contextmanager
def answers_lost(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, times: int = 1) -> Iterator[None]:
    """Do what is asked, and lose the answer."""
    plain, left = getattr(where, name), [times]

    def lose(*args: Any, **kwargs: Any) -> Any:
        answer = plain(*args, **kwargs)
        if left[0]:
            left[0] -= 1
            raise ConnectionResetError(errno.ECONNRESET, "the answer was lost")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(where, name, lose)
        yield


@pytest.mark.parametrize("call", ["create_run", "log_batch", "log_inputs", "create_logged_model", "log_outputs"])
@pytest.mark.usefixtures("project")
def test_a_lost_answer_makes_nothing_twice(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When MLflow did what it was asked and its answer is lost, there is one of everything."""
    monkeypatch.setattr(sql_tables, "serves", lambda _: False)
    with answers_lost(monkeypatch, MlflowClient, call, times=2):
        root = logged_a_lot()
        root.settle()
    check_that_it_is_there_once()


def test_a_lost_commit_makes_nothing_twice(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When rows were written and the database seemed to fail, there is one of everything."""
    del project
    with answers_lost(monkeypatch, sql_insert, "write"):
        root = logged_a_lot()
        root.settle()
    check_that_it_is_there_once()


def logged_a_lot() -> Run:
    """Log a bit of all in two runs, and close them."""
    root = open_run(OWNER, track=Track(), parent=None)
    task = open_run(named("task"), track=Track(), parent=root)
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    dataset = records.Dataset("table", "input", "abc", "pandas.DataFrame", {"mlflow_colspec": []}, {"num_rows": 3})
    task.put([records.Metric("loss", 0.5), dataset, records.Model("line", model, "sklearn", register="lines")])
    task.close("FINISHED", 1)
    root.close("FINISHED", 2)
    return root


def named(name: str) -> records.Identity:
    """Return whose run it is."""
    return records.Identity(
        name=name, kind="task", owner=name, attempt=1, started=0, source=None, tags={}, tag=("", "")
    )


def check_that_it_is_there_once() -> None:
    """Check what `logged_a_lot` logged."""
    assert set(runs()) == {"a run", "task"}
    task = runs()["task"]
    assert task.info.status == "FINISHED"
    assert losses_of("loss", task.info.run_id) == [(0, 0.5)]
    client = connect().client
    whole = client.get_run(task.info.run_id)
    assert len(whole.inputs.dataset_inputs) == len(whole.outputs.model_outputs) == 1
    assert len(client.search_logged_models([task.info.experiment_id])) == 1
    assert len(client.search_model_versions("name = 'lines'")) == 1


@pytest.mark.usefixtures("project")
def test_a_journal_of_a_process_at_work_is_left_alone(project: Path) -> None:
    """Another process cannot send what this one will: nothing is there twice."""
    opened = open_run(OWNER, track=Track(), parent=None)
    opened.put([records.Metric("loss", 0.5)])
    asked = "from pathlib import Path\nfrom flowml.store.recovery import recover\n"
    asked += "print(len(recover(Path('.flowml/journal').glob('*.db')).in_use))"
    assert run(asked, project).stdout.strip() == "1"
    opened.close("FINISHED", 1)
    opened.settle()
    assert set(runs()) == {"a run"}


def _damage(path: Path) -> None:
    """Overwrite what is in the middle of a journal of many pages, as a failing disk does."""
    many = "WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 500)"
    _execute(path, f"{many} INSERT INTO entries (run, kind, data) SELECT 'a', 'loss', hex(zeroblob(1000)) FROM many")
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 4)
        file.write(b"\xff" * (path.stat().st_size // 2))


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "of a newer flowml": (lambda path: _execute(path, f"UPDATE about SET value = '{FORM + 1}'"), "Upgrade flowml"),
    "another database": (lambda path: _execute(path, "DROP TABLE about"), "no journal of flowml's"),
    "no database": (lambda path: path.write_bytes(b"no database at all" * 100), "not a database"),
    "damaged": (_damage, "malformed"),
}


def _execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("kind", SPOILED)
def test_a_journal_that_cannot_be_read_stays_and_is_named(project: Path, kind: str) -> None:
    """One that is of a newer flowml, or none at all, is reported each time and left where it is; others are sent."""
    killed(f"hold()\n{LOGGED}die()", project)
    (journal,) = journals(project)
    spoil, said = SPOILED[kind]
    for log in journal.parent.glob("*-wal"):
        _execute(journal, "SELECT 1")
        log.unlink(missing_ok=True)
    spoil(journal)
    killed(f"hold()\n{LOGGED}die()", project)
    found = recover(journals(project))
    assert len(found.problems) == 1
    assert said in found.problems[0]
    assert str(journal) in found.problems[0]
    assert recover([journal]).problems == found.problems
    assert journals(project) == [journal]
    assert set(runs()) == {"root", "task"}


def test_a_journal_without_its_files_waits_for_them(project: Path) -> None:
    """Where only the journal was copied, or somebody made room, it says so; an empty folder has the rest sent."""
    killed(f"hold()\n{LOGGED}{A_MODEL}die()", project)
    (journal,) = journals(project)
    files = journal.with_suffix(".files")
    files.rename(project / "elsewhere")
    found = recover(journals(project))
    assert len(found.problems) == 1
    assert f"Bring {files.name} back" in found.problems[0]
    assert (found.sent, journals(project)) == ([], [journal])
    shutil.copytree(project / "elsewhere", files)
    shutil.rmtree(next(files.glob("*/model")).parent)
    assert ["the model's files are gone" in each for each in recover(journals(project)).left_out] == [True]
    sent = runs()
    assert "notes" in {file.path for file in connect().client.list_artifacts(sent["task"].info.run_id)}


def test_a_torn_entry_is_left_out_and_reported(project: Path) -> None:
    """An entry that cannot be read costs itself alone."""
    killed(f"hold()\n{LOGGED}die()", project)
    (journal,) = journals(project)
    _execute(journal, "UPDATE entries SET data = '[[\"file' WHERE kind = 'records' AND data LIKE '%metric%loss%'")
    found = recover([journal])
    assert "1 entries could not be read" in found.problems[0]
    assert journal.with_suffix(".torn").exists()
    assert runs()["task"].data.params == {"c": "0.1"}


@pytest.mark.parametrize("header", ["null", "{}", '{"store": {}, "root": null, "new": {}}', "[["])
def test_a_torn_header_costs_its_run_alone(project: Path, header: str) -> None:
    """A run whose header cannot be read is reported once; all others are sent, and the journal goes."""
    killed(f"hold()\n{LOGGED}die()", project)
    (journal,) = journals(project)
    _execute(journal, f"UPDATE entries SET data = '{header}' WHERE kind = 'run' AND data LIKE '%\"name\":\"task\"%'")
    assert "could not be read" in recover([journal]).problems[0]
    assert set(runs()) == {"root"}
    assert journals(project) == []


def test_nothing_outside_of_its_folder_is_sent(project: Path) -> None:
    """A journal that names a file elsewhere, as no flowml writes it, cannot make it an artifact."""
    (project / "private").mkdir()
    (project / "private" / "key").write_text("private")
    killed(f"hold()\n{LOGGED}die()", project)
    (journal,) = journals(project)
    wrong = json.dumps([["files", "../../private"]])
    _execute(journal, f"UPDATE entries SET data = '{wrong}' WHERE data LIKE '%\"files\"%'")
    assert "could not be read" in recover([journal]).problems[0]
    assert [each.path for each in connect().client.list_artifacts(runs()["task"].info.run_id)] == []


def test_a_journal_of_this_version_is_read_for_ever(project: Path) -> None:
    """A journal that the first version wrote, kept in this folder, is sent whole."""
    kept = Path(__file__).parent / "journals" / "form_1"
    shutil.copytree(kept, project / ".flowml" / "journal")
    (journal,) = journals(project)
    _execute(journal, f"UPDATE entries SET data = replace(data, 'STORE', '{connect().uri}')")
    found = recover([journal])
    assert (found.problems, len(found.sent)) == ([], 3)
    assert runs()["task"].data.params == {"c": "0.1"}
    (logged,) = connect().client.search_logged_models([runs()["task"].info.experiment_id])
    assert str(logged.status) == "READY"


def test_a_journal_that_cannot_be_written_costs_nothing_else(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where there can be no journal one line says that what waits is in memory only; all is sent."""
    (project / ".flowml" / "journal").write_text("in the way of the folder")
    root = logged_a_lot()
    root.settle()
    check_that_it_is_there_once()
    assert caplog.text.count("is lost with this process") == 1


@pytest.mark.usefixtures("project")
def test_files_beyond_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """More files than may wait are not taken, with one error that names the setting; the records are."""
    monkeypatch.setenv("FLOWML_JOURNAL_LIMIT", "1kB")
    settings.reload()
    opened = open_run(OWNER, track=Track(), parent=None)
    with pytest.raises(Exception, match="journal_limit"):
        opened.put([records.Text("large.txt", "x" * 2000), records.Metric("loss", 0.5)])
    opened.close("FINISHED", 1)
    opened.settle()
    assert runs()["a run"].data.metrics == {"loss": 0.5}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_leaves_its_parents_journal_alone(project: Path) -> None:
    """A child that ends, in whichever way, does not touch what its parent has to send."""
    program = (
        "hold = writer_of(connect()).rest\nhold()\nroot = open_run(owner('root', 'flow'), track=Track(), parent=None)\n"
        "root.put([records.Metric('own', 5.0)])\npid = os.fork()\n"
        "if not pid:\n    sys.exit(0)\n"
        "os.waitpid(pid, 0)\nroot.put([records.Metric('after', 6.0)])\ndie()"
    )
    killed(program, project)
    assert recover(journals(project)).problems == []
    assert runs()["root"].data.metrics == {"own": 5.0, "after": 6.0}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_what_forked_children_log_arrives_though_nobody_has_their_run(project: Path) -> None:
    """Children that are forked before MLflow has the run leave journals of their own, in whichever way they end."""
    program = (
        "writer_of(connect()).rest()\nroot = open_run(owner('root', 'flow'), track=Track(), parent=None)\n"
        "ends = {'exited': lambda: sys.exit(0), 'left': lambda: os._exit(0), 'killed': die}\n"
        "for name, end in ends.items():\n"
        "    if not os.fork():\n"
        "        root.put([records.Metric(name, 1.0), records.Text(f'{name}.txt', name)])\n"
        "        end()\n"
        "    os.wait()\n"
        "die()"
    )
    killed(program, project, FLOWML_TIMEOUT="0.5")
    assert recover(journals(project)).problems == []
    run = runs()["root"]
    assert run.data.metrics == {"exited": 1.0, "left": 1.0, "killed": 1.0}
    assert {file.path for file in connect().client.list_artifacts(run.info.run_id)} == {
        "exited.txt",
        "left.txt",
        "killed.txt",
    }


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("has_gaps", [False, True])
def test_many_runs_wait_on_the_disk_alone(monkeypatch: pytest.MonkeyPatch, has_gaps: bool) -> None:  # noqa: FBT001
    """While MLflow is away, runs beyond those that memory is for are in the journal; all arrive, the flow last.

    Those that the journal could take a part of only are kept in memory.
    """
    monkeypatch.setattr(writer, "MOST", 10)
    monkeypatch.setattr(sql_tables, "serves", lambda _: False)
    root = open_run(dataclasses.replace(OWNER, kind="flow"), track=Track(), parent=None)
    assert root.info
    sizes = random.Random(1)
    mine = writer.writer_of(connect())
    with monkeypatch.context() as away:
        away.setattr(MlflowClient, "create_run", _refused)
        if has_gaps:
            monkeypatch.setattr(journal, "_LOOK", 2)
            monkeypatch.setattr(on_disk, "size_of_entries", lambda _: sizes.choice([0, 10**12]))
        for number in range(60):
            task = open_run(named(f"task {number}"), track=Track(), parent=root)
            task.put([records.Metric("m", float(number)), records.Param("p", "v"), records.Text("a.txt", "a")])
            task.close("FINISHED", 1)
            if not number:
                with pytest.raises(TrackingError):
                    mine.flush(0.5)
        mine.ask(lambda: None)  # in its turn: all before it is taken
        assert has_gaps or len(mine.waiting()) <= 11
        assert mine.count_waiting() >= 60
        root.close("FINISHED", 2)
    root.settle()
    found = runs()
    assert len(found) == 61
    for number in range(60):
        run = found[f"task {number}"]
        assert (run.data.metrics["m"], run.data.params, run.info.status) == (float(number), {"p": "v"}, "FINISHED")
    assert found["a run"].data.metrics["task 59.m"] == 59.0
    assert found["a run"].info.status == "FINISHED"


def _refused(*_: object, **__: object) -> None:
    raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def test_a_journal_beyond_its_limit_takes_no_more(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Records beyond the limit are sent all the same; one line says that they wait in memory, and names the setting."""
    monkeypatch.setenv("FLOWML_JOURNAL_LIMIT", "50kB")
    settings.reload()
    opened = open_run(OWNER, track=Track(), parent=None)
    assert opened.info
    for number in range(600):
        opened.put([records.Tag(f"t{number}", "x" * 200)])
    opened.close("FINISHED", 1)
    opened.settle()
    assert caplog.text.count("journal_limit") == 1
    assert {f"t{number}" for number in range(600)} <= runs()["a run"].data.tags.keys()
    assert journals(project) == []  # nothing of it waits


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits of a process there")
def test_a_disk_that_is_full_keeps_nothing_half_made(project: Path) -> None:
    """Where no journal can begin nothing stays of what was tried, however often something is logged."""
    program = (
        "import resource\nhold()\nroot = open_run(owner('root', 'flow'), track=Track(), parent=None)\n"
        "from flowml.store.journal import journal\njournal.close_all()\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))\n"
        "for number in range(20):\n    root.put([records.Metric('m', number, number)])\ndie()"
    )
    killed(program, project)
    assert len([*(project / ".flowml" / "journal").iterdir()]) == len(["journal", "its lock"])


def test_a_journal_that_has_room_again_takes_what_comes(project: Path) -> None:
    """After a disk that was full, or a limit, what a run logs next outlives its process again."""
    program = (
        "from flowml import settings\nhold()\nroot = open_run(owner('root', 'flow'), track=Track(), parent=None)\n"
        "root.put([records.Metric('before', 1.0)])\n"
        "os.environ['FLOWML_JOURNAL_LIMIT'] = '1kB'\nsettings.reload()\n"
        "for number in range(500):\n    root.put([records.Tag('t', 'x' * 200)])\n"
        "del os.environ['FLOWML_JOURNAL_LIMIT']\nsettings.reload()\n"
        "root.put([records.Metric('after', 2.0)])\ndie()"
    )
    killed(program, project)
    assert recover(journals(project)).problems == []
    assert runs()["root"].data.metrics == {"before": 1.0, "after": 2.0}


def test_a_killed_run_is_closed_though_the_first_sync_could_not(project: Path) -> None:
    """What could not be closed, because Prefect was away or the sync was killed, is asked for again."""
    killed(f"hold()\n{LOGGED}die()", project)

    def away(_: Connection, __: Collection[str]) -> int:
        raise TrackingError("nobody can say how they ended")

    first = send_journals(journals(project), close=away)
    assert (first.sent, first.waiting) == ([], 2)
    assert set(runs()) == {"root", "task"}
    again = recover(journals(project))
    assert (again.problems, again.closed, journals(project)) == ([], 2, [])
    assert {each.info.run_id for each in runs().values()} == NOT_ENDED


def test_a_look_into_a_journal_takes_nobodys_lock(project: Path) -> None:
    """A process that reads all files of its project, as an archive does, keeps its journal."""
    opened = open_run(OWNER, track=Track(), parent=None)
    opened.put([records.Metric("loss", 0.5)])
    for file in (project / ".flowml" / "journal").iterdir():
        file.read_bytes()
    asked = "from pathlib import Path\nfrom flowml.store.recovery import recover\n"
    asked += "print(len(recover(Path('.flowml/journal').glob('*.db')).in_use))"
    assert run(asked, project).stdout.strip() == "1"
    opened.close("FINISHED", 1)
    opened.settle()


def test_a_process_of_the_same_number_is_not_taken_for_its_own(project: Path) -> None:
    """In a container that is started again the next process has the number of the one that was killed."""
    killed(f"{LOGGED}die()", project)
    (left,) = journals(project)
    _, host, pid, _ = left.stem.split("-", 3)
    for file in left.parent.iterdir():
        file.rename(file.with_name(file.name.replace(f"{host}-{pid}-", f"{host}-{os.getppid()}-")))
    assert [each.is_left for each in waiting()] == [True]
    assert len(recover(journals(project)).sent) == 2
    opened = open_run(OWNER, track=Track(), parent=None)
    look = "from flowml.store.journal.left import waiting\nprint([each.is_left for each in waiting()])"
    assert run(look, project).stdout.strip() == "[False]"
    opened.close("FINISHED", 1)
    opened.settle()


def test_a_journal_holds_no_password(project: Path) -> None:
    """Neither a run's store nor the store that a model is in is kept with its credentials."""
    program = (
        f"{LOGGED}{A_MODEL}task.info\nwriter_of(connect()).flush()\n"
        "from flowml.store.models.identity import serialized_of\n"
        "serialized_of(model).ids['http://ada:hunter2@127.0.0.1:1'] = 'm-1'\n"
        "later = open_run(owner('later'), track=Track(), parent=root)\n"
        "later.put([records.ModelInput('line', model)])\ndie()"
    )
    killed(program, project)
    written = b"".join(each.read_bytes() for each in (project / ".flowml" / "journal").glob("*.db*"))
    assert b"127.0.0.1:1" in written
    assert b"hunter2" not in written


def test_a_folder_that_is_removed_meanwhile_costs_what_was_in_it(project: Path) -> None:
    """After the user removed the folder, what is logged from the next moment on is in a new journal."""
    program = (
        "import shutil\nfrom pathlib import Path\nhold()\n"
        "root = open_run(owner('root', 'flow'), track=Track(), parent=None)\n"
        "shutil.rmtree('.flowml/journal')\n"
        "while not Path('.flowml/journal').exists():\n    root.put([records.Tag('t', 'a')])\n"
        "root.put([records.Metric('after', 1.0)])\ndie()"
    )
    killed(program, project)
    assert recover(journals(project)).problems == []
    assert runs()["root"].data.metrics == {"after": 1.0}


def test_going_to_another_folder_costs_nothing(project: Path) -> None:
    """A flow whose code changes the working directory keeps its journal, and its files there."""
    (project / "elsewhere").mkdir()
    (project / "elsewhere" / "pyproject.toml").touch()
    killed(
        "import os\nhold()\nroot = open_run(owner('root', 'flow'), track=Track(), parent=None)\n"
        "os.chdir('elsewhere')\nroot.put([records.Text('a.txt', 'a'), records.Metric('m', 1.0)])\ndie()",
        project,
    )
    (journal,) = journals(project)
    assert recover([journal]).problems == []
    found = runs()["root"]
    assert found.data.metrics == {"m": 1.0}
    assert [each.path for each in connect().client.list_artifacts(found.info.run_id)] == ["a.txt"]
