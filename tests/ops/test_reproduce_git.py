"""What a flow's run says of the state of its repository, and whether it can be run again from that."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL
from tests.ops.conftest import Said
from tests.provenance.repository import committed, git
from tests.runs import run_of

from flowml.ops.launch.loading import load

Flowml = Callable[..., Said]

FILE = """
from pathlib import Path

from flowml import flow


@flow
def counted() -> int:
    here = Path(__file__).parent
    return sum(int(path.read_text().split("=")[-1]) for path in sorted(here.rglob("n*.py")) if path.is_file())
"""


@pytest.fixture
def repository(client: MlflowClient, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project as a repository: a flow that adds the numbers in other files."""
    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))  # for other processes
    with committed(project, {"work.py": FILE, "n1.py": "N = 1\n", "n2.py": "N = 2\n"}, monkeypatch):
        yield project


@pytest.fixture
def with_submodule(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a submodule in `inner`, which holds another number."""
    other = tmp_path_factory.mktemp("other")
    (other / "n3.py").write_text("N = 3\n")
    git(other, "init", "-q")
    git(other, "add", ".")
    git(other, "commit", "-qm", "Three")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "inner")
    git(repository, "commit", "-qm", "A submodule")
    return repository


def code_of(client: MlflowClient) -> dict[str, Any]:
    """Return what the flow's run says of its code."""
    run_id = run_of(client, "counted").info.run_id
    found: dict[str, Any] = json.loads(Path(client.download_artifacts(run_id, "reproduce/run.json")).read_text())
    return dict(found["code"])


def equal(flowml: Flowml) -> dict[str, Any]:
    """Run it again, which must be equal; return what the command says."""
    said = flowml("reproduce", "counted", "--python", sys.executable, "--json")
    assert said.code == 0, said
    told: dict[str, Any] = json.loads(said.out)
    assert (told["equal"], told["causes"]) == (True, [])
    return told


@pytest.mark.e2e
@pytest.mark.slow
def test_what_is_staged_and_linked_is_made_again(client: MlflowClient, repository: Path, flowml: Flowml) -> None:
    """On a detached HEAD: a staged rename, a staged new file, a new link and a file that became a link."""
    git(repository, "checkout", "-q", "--detach")
    git(repository, "mv", "n1.py", "n9.py")
    (repository / "n4.py").write_text("N = 40\n")
    git(repository, "add", "n4.py")
    (repository / "n5.py").symlink_to("n9.py")
    (repository / "n2.py").unlink()
    (repository / "n2.py").symlink_to("n4.py")
    assert load("work.py:counted")() == 82
    code = code_of(client)
    assert (code["diff"], code["dirty"], code["left_out"]) == ("whole", True, [])
    git(repository, "stash", "-qu")
    equal(flowml)


@pytest.mark.e2e
@pytest.mark.slow
def test_a_submodule_is_checked_out(client: MlflowClient, with_submodule: Path, flowml: Flowml) -> None:
    """It is at the commit that it was at, also if that is another than the repository's own commit says."""
    inner = with_submodule / "inner"
    (inner / "n3.py").write_text("N = 30\n")
    git(inner, "commit", "-qam", "Thirty")
    assert load("work.py:counted")() == 33
    assert code_of(client)["diff"] == "whole"
    git(inner, "checkout", "-q", "HEAD~")
    told = equal(flowml)
    assert told["compared"]["metrics"] == 1
    assert [len(git(each, "worktree", "list").splitlines()) for each in (with_submodule, inner)] == [1, 1]


def test_a_submodule_that_cannot_be(client: MlflowClient, with_submodule: Path, flowml: Flowml) -> None:
    """Changes in a submodule are in no diff, and one that is not checked out is asked for."""
    load("work.py:counted")()
    (with_submodule / "inner" / "n3.py").write_text("N = 31\n")
    (with_submodule / "work.py").touch()
    git(with_submodule, "submodule", "--quiet", "deinit", "--force", "inner")
    said = flowml("reproduce", "counted", "--python", sys.executable)
    assert said.code == 2
    assert "git submodule update --init --recursive" in said.err
    assert len(git(with_submodule, "worktree", "list").splitlines()) == 1


def test_changes_in_a_submodule_are_not_kept(client: MlflowClient, with_submodule: Path, flowml: Flowml) -> None:
    """No diff of the repository has them; the run says so, and so does the command."""
    (with_submodule / "inner" / "n3.py").write_text("N = 31\n")
    load("work.py:counted")()
    why = "the submodule inner has changes that are not committed"
    assert (code_of(client)["diff"], code_of(client)["dirty"]) == (why, True)
    said = flowml("reproduce", "counted", "--python", sys.executable)
    assert (said.code, why in said.err) == (2, True)


def test_without_a_commit(client: MlflowClient, repository: Path, flowml: Flowml) -> None:
    """A repository that has none yet is no place to go back to; `--here` runs what is here, also from below."""
    git(repository, "update-ref", "-d", "HEAD")
    load("work.py:counted")()
    assert code_of(client)["commit"] is None
    said = flowml("reproduce", "counted", "--python", sys.executable)
    assert said.code == 2
    assert "(the repository has no commit); `--here` runs what is here now." in said.err


@pytest.mark.e2e
@pytest.mark.slow
def test_without_git(
    client: MlflowClient, repository: Path, flowml: Flowml, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where git is not installed no commit is known, and why; `--here` needs none, and works from anywhere below."""
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        load("work.py:counted")()
        code = code_of(client)
        assert (code["commit"], code["diff"]) == (None, "git is not installed where the flow ran")
    below = repository / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    monkeypatch.setenv("FLOWML_HOME", str(repository / ".flowml"))
    said = flowml("reproduce", "counted", "--here")
    assert said.code == 0, said
    assert "Equal    1 runs" in said.out


def test_a_hook_of_another_repository(
    client: MlflowClient, repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Called by a hook of git's, which names its own repository, the flow's own one is told."""
    hooked = tmp_path_factory.mktemp("hooked")
    git(hooked, "init", "-q")
    commit = git(repository, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(hooked / ".git"))
    load("work.py:counted")()
    assert code_of(client)["commit"] == commit
