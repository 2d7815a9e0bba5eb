"""Paths that a task returns: logged up to a limit, as they were, and never anything outside of them."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import pytest
from mlflow import MlflowClient
from tests.runs import flow_run, run_of, runs_of

from flowml import Artifact, flow, records, task
from flowml.store.journal.staging import stage
from flowml.store.sending import digests


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that flowml's scratch folders are made in: empty when nothing waits."""
    folder = tmp_path_factory.mktemp("outer") / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def files_of(client: MlflowClient, name: str) -> dict[str, str]:
    """Return the content of each artifact of a task's run, by its path."""
    root = Path(client.download_artifacts(run_of(client, name).info.run_id, ""))
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def returning(value: object, annotation: object = None) -> None:
    """Run a flow with a task that returns this value, annotated so."""

    def make():
        return value

    make.__annotations__["return"] = annotation
    made = task(make, cache_policy=None)

    @flow
    def main():
        made()

    main()


def test_a_folder_named_by_dots_stays_inside_the_run(client: MlflowClient, scratch: Path, project: Path, monkeypatch):
    """Path("..") is the folder that it leads to, under its own name; nothing is written beside the scratch folder."""
    (project / "made" / "below").mkdir(parents=True)
    (project / "made" / "a.txt").write_text("made")
    monkeypatch.chdir(project / "made" / "below")
    before = set(scratch.parent.rglob("*"))
    returning((Path(".."), Path(), Path("../a.txt")))
    assert files_of(client, "make") == {"made/a.txt": "made", "a.txt": "made"}
    assert set(scratch.parent.rglob("*")) == before


def test_what_leads_out_of_a_folder_is_left_out(client: MlflowClient, scratch: Path, project: Path, caplog):
    """Links out of it, circles, pipes and sockets are named in one line; a link to a file inside is that file."""
    (project / "secret").mkdir()
    (project / "secret" / "key").write_text("secret")
    out = project / "out"
    (out / "deep").mkdir(parents=True)
    (out / "deep" / "a.txt").write_text("a")
    (out / "inside.txt").symlink_to("deep/a.txt")
    (out / "outside.txt").symlink_to(project / "secret" / "key")
    (out / "outside").symlink_to(project / "secret")
    (out / "deep" / "circle").symlink_to(out)
    (out / "loop").symlink_to("loop")
    os.mkfifo(out / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(out / "socket"))
        returning(out)
    assert files_of(client, "make") == {"out/deep/a.txt": "a", "out/inside.txt": "a"}
    (line,) = [record.message for record in caplog.records if "left out" in record.message]
    assert "6 entries" in line
    assert "outside" in line
    (told,) = json.loads(flow_run(client).data.tags["flowml.tracking_error"])
    assert told in line


def test_what_cannot_be_read_to_its_end_is_its_path(client: MlflowClient, project: Path):
    """Devices, pipes, circles of links, and what the kernel makes up while it is read, hang nothing."""
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    paths = [Path(name) for name in ("/dev/zero", "/proc/kmsg", "pipe", "loop")]

    @task(cache_policy=None)
    def read(zero, kernel, pipe, loop):
        return zero, pipe, loop

    @flow
    def main():
        read(*paths)

    main()
    params = run_of(client, "read").data.params
    assert [params[name].partition(" ")[0] for name in ("zero", "kernel", "pipe", "loop")] == [str(p) for p in paths]
    assert [params[f"read.{number}"] for number in range(3)] == ["/dev/zero", "pipe", "loop"]


def test_above_the_limit_a_file_is_known_by_path_size_and_digest(client: MlflowClient, project, monkeypatch, caplog):
    """One line says how to log it all the same, however many there are; the marker does."""
    monkeypatch.setenv("FLOWML_FILE_LIMIT", "4kB")
    large = project / "large.bin"
    large.write_bytes(b"x" * 5_000)

    @task(cache_policy=None)
    def write(number):
        return large

    @task(cache_policy=None)
    def keep() -> Annotated[Path, Artifact()]:
        return large

    @flow
    def main():
        write.map([1, 2, 3]).result()
        keep()

    main()
    for run in runs_of(client, "write"):
        assert run.data.params["return"] == f"{large} (5 kB)"
        assert run.data.params["return.sha256"] == hashlib.sha256(b"x" * 5_000).hexdigest()
        assert client.list_artifacts(run.info.run_id) == []
    (line,) = [record.message for record in caplog.records if "large.bin" in record.message]
    for part in ("5 kB", "4 kB", "file_limit", "Artifact()"):
        assert part in line
    assert list(files_of(client, "keep")) == ["large.bin"]


def test_what_has_no_room_to_wait_is_a_loss(client: MlflowClient, project: Path, monkeypatch):
    """A file that is asked for, and larger than what is free where files wait, is known as one above the limit is."""
    (project / "large.bin").write_bytes(b"x" * 5_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4_000))
    returning(project / "large.bin", Annotated[Path, Artifact()])
    assert run_of(client, "make").data.params["return.sha256"] == hashlib.sha256(b"x" * 5_000).hexdigest()
    (told,) = json.loads(flow_run(client).data.tags["flowml.tracking_error"])
    assert "has no room" in told


def test_a_folder_above_the_limit_is_measured_beside_the_task(client: MlflowClient, project, monkeypatch):
    """It has a size and a digest that changes with any name or byte in it."""
    monkeypatch.setenv("FLOWML_FILE_LIMIT", "4kB")
    digests_seen = set()
    for number, text in enumerate(["a", "b"]):
        out = project / "out"
        (out / "deep").mkdir(parents=True, exist_ok=True)
        for name in range(5):
            (out / "deep" / f"{name}.bin").write_bytes(text.encode() * 1_000)
        returning(out)
        params = runs_of(client, "make")[number].data.params
        assert params["return"] == f"{out} (folder of more than 4 kB)"
        assert params["return.size"] == "5 kB in 5 files"
        digests_seen.add(params["return.sha256"])
    assert len(digests_seen) == 2
    assert all(len(digest) == 64 for digest in digests_seen)


def test_a_digest_is_that_of_what_was_returned(client: MlflowClient, project, monkeypatch):
    """Of a file that was changed or removed before it could be read, the run says that it is not known."""
    monkeypatch.setenv("FLOWML_FILE_LIMIT", "4kB")
    changed, removed, go_on = project / "changed.bin", project / "removed.bin", threading.Event()
    digests.publisher.add(lambda: go_on.wait(60) and None)
    for file in (changed, removed):
        file.write_bytes(b"x" * 5_000)

    @task(cache_policy=None)
    def write():
        return changed, removed

    @flow
    def main():
        write()
        changed.write_bytes(b"y" * 5_000)
        removed.unlink()
        go_on.set()

    main()
    params = run_of(client, "write").data.params
    assert "changed" in params["write.0.sha256"]
    assert "gone" in params["write.1.sha256"]


def test_files_of_one_name_are_both_there(client: MlflowClient, project: Path):
    """The second one has a number before its ending, as parameters have."""
    for folder in ("a", "b"):
        (project / folder / "out").mkdir(parents=True)
        (project / folder / "out" / "x.csv").write_text(folder)
    folders = [project / "a" / "out", project / "b" / "out"]
    returning((*[folder / "x.csv" for folder in folders], *folders))
    assert files_of(client, "make") == {"x.csv": "a", "x.2.csv": "b", "out/x.csv": "a", "out/x.2.csv": "b"}


def test_a_file_is_renamed_by_its_marker(client: MlflowClient, project: Path):
    """Artifact("tables/final.csv") on a path is the file's name among the artifacts, whatever its size."""
    (project / "tmp.csv").write_text("a,b")
    returning(project / "tmp.csv", Annotated[Path, Artifact("tables/final.csv")])
    assert files_of(client, "make") == {"tables/final.csv": "a,b"}


def test_a_path_of_a_describers_own_stays_inside(client: MlflowClient, scratch: Path, project: Path):
    """Whatever path a record has, it is a file of the run's."""
    (project / "x").write_text("x")
    staged, problem = stage(
        [
            records.Text("../escaped", "x"),
            records.Text(str(scratch.parent / "abs"), "x"),
            records.File("..", project / "x"),
        ]
    )
    assert problem is not None
    assert [path.name for path in scratch.parent.rglob("*") if path.is_file()] == []
    staged.remove()


MOST = 8_000_000


@contextmanager
def small_disk() -> Iterator[None]:
    """No file gets larger than MOST, as on a disk that is full; one that would is written up to there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("by", ["the kernel", "hand"])
def test_no_part_of_a_file_is_logged_as_all_of_it(client: MlflowClient, project: Path, monkeypatch, by):
    """A file, one in a folder, and bytes that the disk has no room for are losses; nothing stands under their names."""
    (project / "out").mkdir()
    for name in ("large.bin", "out/large.bin", "out/small.bin"):
        with (project / name).open("wb") as file:
            file.truncate(3 if "small" in name else MOST + 500_000)
    if by == "hand":
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    with small_disk():
        returning((project / "large.bin", project / "out", b"x" * (MOST + 1), b"small"))
    run_id = run_of(client, "make").info.run_id
    root = Path(client.download_artifacts(run_id, ""))
    sizes = {str(path.relative_to(root)): path.stat().st_size for path in root.rglob("*") if path.is_file()}
    assert sizes == {"out/small.bin": 3, "make.3.bin": 5}
    told = json.loads(flow_run(client).data.tags["flowml.tracking_error"])
    for name in (project / "large.bin", project / "out/large.bin", "make.2.bin"):
        assert any(f"the file {str(name)!r} could not be copied" in text for text in told)
