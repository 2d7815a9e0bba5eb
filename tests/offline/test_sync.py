"""``flowml sync``: a flow that ran offline is where it was meant to be, as if it had run online."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from tests.conftest import forget_what_was_said_to_mlflow
from tests.offline import reference
from tests.offline.small import EXPERIMENT
from tests.offline.snapshot import snapshot
from tests.offline.test_copying import counted
from tests.ops.conftest import Said

import flowml as package
from flowml import settings
from flowml.ops.sync.offline_store import sync_offline
from flowml.store.backend import offline

pytestmark = pytest.mark.timeout(600)  # a module's fixture runs two flows

_BY_CHANCE = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|(m-|tr-)?[0-9a-f]{32}|[a-z]+-[a-z]+(?=$|/)|-[0-9a-f]{3}$")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, flowml_empty_store: Path, prefect_server: None) -> Path:
    """A project in which the reference flow ran once offline and once online."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "pyproject.toml").touch()
    (folder / ".flowml").mkdir()
    for name in ("offline", "mlflow"):
        shutil.copy(flowml_empty_store, folder / ".flowml" / f"{name}.db")
    for is_offline in ("true", "false"):
        with pytest.MonkeyPatch.context() as patch:
            forget_what_was_said_to_mlflow()
            patch.chdir(folder)
            patch.setenv("FLOWML_OFFLINE", is_offline)
            settings.reload()
            reference.reference()
            package.flush()
            mlflow.flush_trace_async_logging()
        settings.reload()
    forget_what_was_said_to_mlflow()
    return folder


@pytest.fixture
def project_that_ran(ran: Path, monkeypatch: pytest.MonkeyPatch, project: Path) -> Path:
    """A project with what was tracked offline there; nothing of it is copied yet."""
    shutil.copytree(ran / ".flowml", project / ".flowml", dirs_exist_ok=True)
    return project


def test_a_flow_is_copied_to_a_database(
    project_that_ran: Path, flowml_empty_store: Path, tmp_path: Path, flowml: Callable[..., Said]
) -> None:
    """All that the reference flow left is there, value by value; a second sync finds nothing to do."""
    shutil.copy(flowml_empty_store, project_that_ran / "team.db")
    uri = f"sqlite:///{project_that_ran}/team.db"
    said = flowml("sync", "--to", uri, "--json")
    assert said.code == 0, said.err
    done = json.loads(said.out)["offline"]["copied"]
    assert (done["running"], done["models"], done["versions"], done["traces"]) == (0, 2, 2, 1)
    source, target = MlflowClient(offline.uri()), MlflowClient(uri)
    before = snapshot(source, tmp_path / "a")
    assert len(before["runs"]) == done["runs"] > 12
    assert snapshot(target, tmp_path / "b") == before
    assert flowml("sync", "--to", uri).out == f"Nothing new for {uri}.\n"
    assert counted(target) == counted(source)


@pytest.mark.slow
@pytest.mark.e2e
def test_a_flow_is_copied_to_a_server(
    project_that_ran: Path, served_store: Callable[[], str], tmp_path: Path, flowml: Callable[..., Said]
) -> None:
    """Over HTTP, with files that the server hands on, all is the same too."""
    address = served_store()
    assert flowml("sync", "--to", address).code == 0
    source, target = MlflowClient(offline.uri()), MlflowClient(address)
    assert snapshot(target, tmp_path / "b") == snapshot(source, tmp_path / "a")
    assert flowml("sync", "--to", address).out == f"Nothing new for {address}.\n"
    assert counted(target) == counted(source)


def test_it_is_as_if_it_had_run_online(
    project_that_ran: Path, flowml_empty_store: Path, tmp_path: Path, flowml: Callable[..., Said]
) -> None:
    """The copy has what the same flow leaves online, but for ids, names that Prefect makes up, and times."""
    shutil.copy(flowml_empty_store, project_that_ran / "team.db")
    assert flowml("sync", "--to", f"sqlite:///{project_that_ran}/team.db").code == 0
    copied, online = (
        shape(snapshot(MlflowClient(f"sqlite:///{place}"), tmp_path / f"of-{place.name}"))
        for place in (project_that_ran / "team.db", project_that_ran / ".flowml" / "mlflow.db")
    )
    assert copied == online


def shape(found: dict[str, Any]) -> dict[str, Any]:
    """Return what does not differ from one run of a flow to the next."""

    def one(run: dict[str, Any]) -> list[Any]:
        return [
            run["status"],
            run["experiment"],
            sorted(_BY_CHANCE.sub("*", key) for key in run["tags"]),
            run["params"],
            {key: [(step, value) for step, _, value in points] for key, points in run["metrics"].items()},
            [[name, digest, kind, tags[0]] for name, digest, kind, _, _, _, tags in run["datasets"]],
            [len(run["read"]), len(run["made"])],
            sorted(_BY_CHANCE.sub("*", path) for path in run["files"]),
        ]

    return {
        "runs": sorted((one(run) for run in found["runs"].values()), key=repr),
        "models": sorted(
            ([one["name"], one["params"], sorted(one["files"])] for one in found["models"].values()), key=repr
        ),
        "registered": {
            name: [description, tags, [[one["aliases"], one["files"]] for one in versions.values()]]
            for name, (description, tags, versions) in found["registered"].items()
        },
        "traces": [sorted(span["name"] for span in trace["spans"]) for trace in found["traces"].values()],
    }


def test_nothing_is_said_to_be_copied_where_there_is_nothing(project: Path, flowml: Callable[..., Said]) -> None:
    """A project that was never offline has nothing to copy."""
    assert flowml("sync") == Said("No journal waits.\n", "", 0)


def test_a_store_must_be_known(small: Path, flowml: Callable[..., Said]) -> None:
    """Where nobody has named a store, it says how to."""
    said = flowml("sync")
    assert said.code == 2
    assert "nobody has said where these runs are meant to be" in said.err
    assert "flowml sync --to http://host:5000" in said.err


def test_another_store_than_was_meant_is_asked_for(
    small: Path, source: MlflowClient, team: MlflowClient, flowml: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names both, and asks where somebody can be asked; until then nothing is copied."""
    source.set_experiment_tag("1", offline.MEANT, "http://meant.invalid")
    monkeypatch.setenv("FLOWML_TRACKING_URI", team.tracking_uri)
    settings.reload()
    said = flowml("sync")
    assert (said.code, counted(team)["runs"]) == (2, 0)
    assert f"--to http://meant.invalid, or flowml sync --to {team.tracking_uri}" in said.err
    questions: list[str] = []
    sync_offline(agreed=lambda question: bool(questions.append(question)) or True)
    (question,) = questions
    assert question.startswith(f"These runs were meant for http://meant.invalid, and {team.tracking_uri} is named now.")
    assert counted(team) == counted(source)


def test_runs_for_several_stores_need_a_word(small: Path, source: MlflowClient, flowml: Callable[..., Said]) -> None:
    """It does not guess which of two stores is meant."""
    source.set_experiment_tag("1", offline.MEANT, "http://one.invalid")
    other = source.create_experiment("other", tags={offline.MEANT: "http://two.invalid"})
    source.create_run(other)
    said = flowml("sync")
    assert said.code == 2
    assert "several stores: http://one.invalid, http://two.invalid" in said.err


def test_a_deleted_experiment_is_named(
    small: Path, team: MlflowClient, source: MlflowClient, flowml: Callable[..., Said]
) -> None:
    """It says how to restore it; then all is copied."""
    number = team.create_experiment(EXPERIMENT)
    team.delete_experiment(number)
    said = flowml("sync", "--to", team.tracking_uri)
    assert said.code == 2
    assert f"mlflow experiments restore --experiment-id {number}" in said.err
    assert "--to" in said.err
    team.restore_experiment(number)
    assert flowml("sync", "--to", team.tracking_uri).code == 0
    assert counted(team) == counted(source)


def test_prompts_get_numbers_of_their_own(
    small: Path, source: MlflowClient, to: MlflowClient, flowml: Callable[..., Said]
) -> None:
    """Versions follow those that are there, once; runs and aliases lead to the copies, and the texts are whole."""
    to.register_prompt("greeting", "Welcome")
    text = "Hello {{name}} " + "x" * 9000
    source.register_prompt("greeting", text, commit_message="first", tags={"by": "me"})
    source.register_prompt("greeting", [{"role": "user", "content": "{{q}}"}], model_config={"temperature": 0.5})
    source.set_prompt_alias("greeting", "best", 1)
    (root,) = (run.info.run_id for run in source.search_runs(["1"]) if run.info.run_name == "root")
    links = [{"name": "greeting", "version": "1"}, {"name": "somebody's", "version": "7"}]
    source.set_tag(root, "mlflow.linkedPrompts", json.dumps(links))
    said = flowml("sync", "--to", to.tracking_uri)
    assert (said.code, "4 versions of prompts" in said.out) == (0, True)
    first, second = (to.get_prompt_version("greeting", number) for number in (2, 3))
    assert (first.template, first.commit_message, first.tags["by"]) == (text, "first", "me")
    assert second.template == [{"role": "user", "content": "{{q}}"}]
    assert second.model_config == {"temperature": 0.5}
    assert to.get_prompt_version_by_alias("greeting", "best").version == 2
    found = to.search_runs([one.experiment_id for one in to.search_experiments()])
    (copied,) = [run for run in found if run.info.run_name == "root"]
    assert json.loads(copied.data.tags["mlflow.linkedPrompts"]) == [{"name": "greeting", "version": "2"}]
    assert "of prompts" not in flowml("sync", "--to", to.tracking_uri).out
    assert len(to.search_prompt_versions("greeting")) == 3
    source.set_prompt_alias("greeting", "best", 2)
    assert "2 versions of prompts" in flowml("sync", "--to", to.tracking_uri).out
    assert to.get_prompt_version_by_alias("greeting", "best").version == 3
    assert len(to.search_prompt_versions("greeting")) == 3


def test_a_prompt_stays_where_a_model_has_its_name(
    small: Path, source: MlflowClient, team: MlflowClient, flowml: Callable[..., Said]
) -> None:
    """It is named each time, no run links to it, and the model there is as it was."""
    source.register_prompt("greeting", "Hello {{name}}")
    team.create_registered_model("greeting")
    (root,) = (run.info.run_id for run in source.search_runs(["1"]) if run.info.run_name == "root")
    source.set_tag(root, "mlflow.linkedPrompts", '[{"name": "greeting", "version": "1"}]')
    for _ in range(2):
        said = flowml("sync", "--to", team.tracking_uri)
        assert said.code == 0
        assert "Not taken there: the prompt 'greeting': a registered model has that name there." in said.out
    assert not any("mlflow.linkedPrompts" in run.data.tags for run in team.search_runs(["1"]))
    assert team.search_model_versions("name = 'greeting'") == []


def test_a_project_that_was_moved_brings_its_files(
    project: Path, team: MlflowClient, offline_project: Path, flowml: Callable[..., Said]
) -> None:
    """Files and models of a project folder that lies elsewhere now are copied, also where they were missed before."""
    client, folder = MlflowClient(offline.uri()), offline.artifact_root()
    experiment = client.create_experiment("moved", artifact_location=f"{folder}/moved")
    run_id = client.create_run(experiment, 1_000).info.run_id
    client.log_text(run_id, "kept", "kept.txt")
    model = client.create_logged_model(experiment, "clf", run_id)
    (project / "MLmodel").write_text("model_id: 1\n")
    client.log_model_artifact(model.model_id, str(project / "MLmodel"))
    client.finalize_logged_model(model.model_id, "READY")
    client.set_terminated(run_id)
    moved = project / ".flowml" / "offline-artifacts"
    with closing(sqlite3.connect(project / ".flowml" / "offline.db")) as database:  # as if all had been elsewhere
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
        ):
            database.execute(
                f"UPDATE {table} SET {column} = replace({column}, '{folder}', 'file:///was/offline-artifacts')"
            )
        database.commit()
    moved.rename(project / "left behind")
    assert flowml("sync", "--to", team.tracking_uri).code == 0
    (project / "left behind").rename(moved)
    assert flowml("sync", "--to", team.tracking_uri).code == 0
    there = team.get_experiment_by_name("moved").experiment_id
    (copy,) = team.search_runs([there])
    assert [file.path for file in team.list_artifacts(copy.info.run_id)] == ["kept.txt"]
    (made,) = team.search_logged_models([there])
    assert [file.path for file in team.list_logged_model_artifacts(made.model_id)] == ["MLmodel"]


def test_a_server_that_is_away_loses_nothing(small: Path, source: MlflowClient, flowml: Callable[..., Said]) -> None:
    """What cannot be reached is said, and all stays."""
    before = counted(source)
    said = flowml("sync", "--to", "http://127.0.0.1:9")
    assert said.code == 2
    assert "http://127.0.0.1:9 failed" in said.err
    assert counted(source) == before


def test_a_dry_run_copies_nothing(small: Path, team: MlflowClient, flowml: Callable[..., Said]) -> None:
    """It counts what would be copied, and what is there."""
    said = flowml("sync", "--to", team.tracking_uri, "--dry-run")
    assert said.out == f"3 runs would be copied to {team.tracking_uri}; 0 are there already.\n"
    assert counted(team)["runs"] == 0
    flowml("sync", "--to", team.tracking_uri)
    assert json.loads(flowml("sync", "--to", team.tracking_uri, "--dry-run", "--json").out)["offline"]["waiting"] == 0


def test_what_is_copied_can_be_removed(
    small: Path, source: MlflowClient, team: MlflowClient, flowml: Callable[..., Said]
) -> None:
    """Flows that are copied as a whole go, with models and files; what names them later still leads there."""
    running = source.create_run("1", 1_400, run_name="running").info.run_id
    source.log_text(running, "kept", "kept.txt")
    (old,) = (run.info.run_id for run in source.search_runs(["1"]) if run.info.run_name == "second")
    said = flowml("sync", "--to", team.tracking_uri, "--prune")
    assert "3 runs that are copied were removed here." in said.out
    assert counted(source) == {"runs": 1, "models": 0, "versions": 0, "traces": 0}
    files = [file for file in (small / ".flowml" / "artifacts").rglob("*") if file.is_file()]
    assert [file.name for file in files] == ["kept.txt"]
    source.set_tag(running, "flowml.cached_from", old)
    source.set_terminated(running)
    assert flowml("sync", "--to", team.tracking_uri, "--prune").code == 0
    names = {run.info.run_name: run for run in team.search_runs(["1"])}
    assert names["running"].data.tags["flowml.cached_from"] == names["second"].info.run_id
    assert counted(team) == {"runs": 4, "models": 1, "versions": 1, "traces": 1}
    assert counted(source)["runs"] == 0


def test_what_cannot_be_removed_is_said_and_goes_next_time(
    small: Path, source: MlflowClient, team: MlflowClient, flowml: Callable[..., Said], caplog: pytest.LogCaptureFixture
) -> None:
    """A run whose files MLflow does not remove, as where their folder is a link, is named; the others go."""
    run = next(run for run in source.search_runs(["1"]) if source.list_artifacts(run.info.run_id))
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"))
    assert flowml("sync", "--to", team.tracking_uri, "--prune").code == 0
    assert f"{run.info.run_id} is copied, but cannot be removed here: OSError" in caplog.text
    assert [each.info.run_id for each in source.search_runs(["1"], run_view_type=ViewType.ALL)] == [run.info.run_id]
    folder.unlink()
    folder.with_name("elsewhere").rename(folder)
    assert flowml("sync", "--to", team.tracking_uri, "--prune").code == 0
    assert (source.search_runs(["1"], run_view_type=ViewType.ALL), folder.exists()) == ([], False)


@pytest.mark.e2e
def test_two_at_once_copy_once(small: Path, source: MlflowClient, team: MlflowClient) -> None:
    """Of two processes that sync at the same time one waits for the other, and finds that it is done."""
    command = [sys.executable, "-m", "flowml.cli.app", "sync", "--to", team.tracking_uri]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=100)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said[0].startswith("3 runs,")
    assert said[1].startswith("Nothing new")
    assert counted(team) == counted(source)
