"""Databases and buckets, without a server of MLflow's: dead at the start, silent, or gone in the middle."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL
from tests.postgres import Postgres, postgres
from tests.runs import all_runs

FLOW = """
import sys
from pathlib import Path
from flowml import flow, flush, task

@task
def measure(number: int) -> dict[str, float]:
    return {"square": number * number}

@task
def write(text: str) -> Path:
    Path("note.txt").write_text(text)
    return Path("note.txt")

@flow(name="measured")
def measured() -> None:
    measure(1)
    if "write" in sys.argv:
        write("a word")
    if "lose" in sys.argv:
        flush()
        print("lose", flush=True)
        input()
    for number in (2, 3):
        measure(number)

measured()
print("done", flush=True)
"""


@pytest.fixture
def program(project: Path, prefect_server: None) -> Path:
    """The program, in a project, and what it needs in the environment."""
    (project / "measured.py").write_text(FLOW)
    return project / "measured.py"


@pytest.fixture
def silent() -> Iterator[int]:
    """A port at which somebody listens, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def dead() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """Return what a process needs to track, and to wait at its end for a second at most."""
    return {**os.environ, "FLOWML_MAX_DELAY": "1", "PREFECT_API_URL": str(PREFECT_API_URL.value()), **more}


@pytest.mark.parametrize("how", ["dead", "silent"])
@pytest.mark.timeout(60)  # MLflow by itself tries for 102 seconds, twice; with a silent one for ever
def test_a_database_that_is_away_at_the_start_holds_no_flow(
    request: pytest.FixtureRequest, program: Path, how: str
) -> None:
    """The flow ends well and soon, one line says what waits, without a password or a traceback."""
    uri = f"postgresql://me:secret-word@127.0.0.1:{request.getfixturevalue(how)}/mlflow"
    ran = subprocess.run(
        [sys.executable, program],
        env=environment(MLFLOW_TRACKING_URI=uri),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    assert "done" in ran.stdout
    assert said.count("4 runs wait on this disk") == 1, said
    assert "Traceback" not in said
    assert "secret-word" not in said


@pytest.mark.parametrize("how", ["dead", "silent"])
@pytest.mark.timeout(60)  # a bucket's client by itself tries five times, for up to a minute each
def test_a_bucket_that_is_away_holds_no_flow(request: pytest.FixtureRequest, program: Path, how: str) -> None:
    """The flow ends well and soon, and one line says that it is the files which wait."""
    said = run_without_bucket(request.getfixturevalue(how), program)
    assert said.count("wait on this disk") == 1, said
    assert "The store for the files of MLflow at sqlite" in said
    assert "Traceback" not in said


@pytest.mark.timeout(120)
def test_a_bucket_that_comes_back_has_each_file_once(program: Path, dead: int) -> None:
    """A sync sends the files that waited, and the runs are whole; a second one has nothing to do."""
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto.server")
    run_without_bucket(dead, program)
    server = moto.ThreadedMotoServer("127.0.0.1", port=dead, verbose=False)
    server.start()
    try:
        s3 = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{dead}",
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        s3.create_bucket(Bucket="bucket")
        for _ in range(2):
            synced = subprocess.run(
                [sys.executable, "-m", "flowml", "sync"],
                env=environment(**bucket(dead)),
                capture_output=True,
                text=True,
                check=False,
            )
            assert synced.returncode == 0, synced.stderr
        files = [each["Key"] for each in s3.list_objects_v2(Bucket="bucket").get("Contents", [])]
    finally:
        server.stop()
    runs = all_runs(MlflowClient(f"sqlite:///{program.parent}/.flowml/mlflow.db"))
    assert [run.info.status for run in runs] == ["FINISHED"] * 5
    assert sorted(run.data.metrics["square"] for run in runs if "square" in run.data.metrics) == [1.0, 4.0, 9.0]
    assert sum(file.endswith("note.txt") for file in files) == 1, files


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_a_database_that_stops_and_comes_back_has_every_run_once(program: Path) -> None:
    """What was logged while PostgreSQL was gone is there after a sync; the terminal shows no traceback of each try."""
    with postgres() as server:
        uri = server.create("mlflow")
        said = run_without(server, uri, program)
        server.start()
        synced = subprocess.run(
            [sys.executable, "-m", "flowml", "sync"],
            env=environment(MLFLOW_TRACKING_URI=uri),
            capture_output=True,
            text=True,
            check=False,
        )
        assert synced.returncode == 0, synced.stderr
        found = sorted((run.info.status, *run.data.metrics.values()) for run in all_runs(MlflowClient(uri)))
    assert said.count("runs wait on this disk") == 1, said
    assert "Traceback" not in said, said
    squares = [("FINISHED", number * number) for number in (1.0, 2.0, 3.0)]
    assert [each for each in found if len(each) == 2] == squares
    assert [each[0] for each in found if len(each) != 2] == ["FINISHED"]  # the flow's, with the sums


def bucket(port: int) -> dict[str, str]:
    """Return what says that files go to a bucket at a port."""
    return {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "FLOWML_ARTIFACTS": "s3://bucket/x",
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }


def run_without_bucket(port: int, program: Path) -> str:
    """Run the program to its last line, with a bucket that is away; return what it said."""
    pytest.importorskip("boto3")
    started = subprocess.Popen(
        [sys.executable, program, "write"],
        env=environment(**bucket(port)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with started:
        said = said_until("done", started)
        started.kill()  # a process ends when the last of its threads has given up
    return said


def run_without(server: Postgres, uri: str, program: Path) -> str:
    """Run the program, with the database stopped from its middle to its end; return what it said."""
    started = subprocess.Popen(
        [sys.executable, program, "lose"],
        env=environment(MLFLOW_TRACKING_URI=uri),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with started:
        before = said_until("lose", started)
        server.stop()
        said, _ = started.communicate("\n", timeout=100)
    assert started.returncode == 0, said
    return before + said


def said_until(last: str, started: subprocess.Popen[str]) -> str:
    """Read what a program says, up to a line."""
    assert started.stdout
    lines = []
    for line in started.stdout:
        lines.append(line)
        if line == f"{last}\n":
            break
    return "".join(lines)
