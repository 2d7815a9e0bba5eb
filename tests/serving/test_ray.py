"""`flowml serve-model --engine ray`: replicas on a local Ray Serve follow the alias."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from tests.ends.processes import child, until
from tests.serving.conftest import Churn, Server
from tests.serving.test_serve_model import (
    asked_while,
    assert_none_is_lost_over_fifty_moves,
    is_own,
    spoil_example,
    spoil_model,
)

if find_spec("ray") is None or find_spec("grpc_reflection") is None:
    pytest.skip("Ray Serve is not installed", allow_module_level=True)

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(400)]  # Ray alone takes ten seconds to start


@pytest.fixture
def serve_on_ray(serve: Callable[..., Server]) -> Iterator[Callable[..., Server]]:
    """Start `flowml serve-model --engine ray`, and end it as Ctrl-C does."""
    started = list[Server]()

    def start(*words: str, **more: str) -> Server:
        server = serve(*words, "--engine", "ray", "--port", "5871", ready=False, **more)
        started.append(server)
        server.wait_for("which answers from now on", 240)  # a Ray, and two replicas that import MLflow
        return server

    yield start
    for server in started:
        if server.process.poll() is not None:
            continue
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(90) == 0, server.said()


def test_no_request_is_lost_while_replicas_change(churn: Churn, serve_on_ray: Callable[..., Server]) -> None:
    """Two replicas follow promotions and rollbacks; a version that cannot answer is told of, and never does."""
    one, two = churn.add(), churn.add()
    bad = churn.add(spoil=spoil_model), churn.add(spoil=spoil_example)
    churn.promote(one)
    token = "a-token-of-enough-length"
    words = ("--replicas", "2", "--token-env", "MY_TOKEN", "--max-body", "1000", "--sample", "1")
    server = serve_on_ray("churn@champion", *words, MY_TOKEN=token)
    server.headers["Authorization"] = f"Bearer {token}"

    def move() -> None:
        for version in (two, bad[0], one, bad[1], two):
            churn.promote(version)
            if version in bad:
                server.wait_for(f"churn@champion is version {version} now, which is not served")
            else:
                until(lambda: server.ask().headers["x-model-version"] == version, version, every=0.05)  # noqa: B023

    answers = asked_while(server, move, 30)
    assert {answer.status_code for answer in answers} == {200}
    assert {wrong.text for wrong in answers if not is_own(wrong)} == set()
    assert {answer.headers["x-model-version"] for answer in answers} == {one, two}
    assert "does not answer its own input example" in server.said()
    assert "Version 1 goes on." in server.said()
    assert "Version 2 goes on." in server.said()
    refused = httpx.post(f"{server.url}/invocations", json={})
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert server.ask({"inputs": list(range(1000))}).status_code == 413
    assert httpx.get(f"{server.url}/ping").status_code == 200
    assert len(server.ask().headers["x-request-id"].split(", ")) == 1


def test_a_first_version_that_cannot_answer_is_said(churn: Churn, serve: Callable[..., Server]) -> None:
    """Nothing is served: the command ends with 2, and says what the replicas said."""
    churn.promote(churn.add(spoil=spoil_example))
    server = serve("churn@champion", "--engine", "ray", "--port", "5871", ready=False)
    assert server.process.wait(240) == 2
    assert "flowml: churn version 1 does not answer its own input example" in server.said()


@pytest.mark.timeout(1800)
def test_ten_thousand_requests_over_fifty_moves(churn: Churn, serve_on_ray: Callable[..., Server]) -> None:
    """50 a second to two replicas, while the alias goes to versions that load, that do not, and that bring packages."""
    good = [churn.add(), churn.add(), churn.add(more="cowsay==6.1")]
    bad = [churn.add(spoil=spoil_model), churn.add(spoil=spoil_example)]
    churn.promote(good[0])
    server = serve_on_ray("churn@champion", "--replicas", "2")
    churn.promote(good[2])
    until(lambda: server.ask().headers["x-model-version"] == good[2], "its environment is made", 300)
    assert_none_is_lost_over_fifty_moves(churn, server, good, bad)


def test_a_cluster_is_joined_and_left(churn: Churn, serve_on_ray: Callable[..., Server], tmp_path: Path) -> None:
    """Replicas outlive a command that is killed; the next one follows the alias with them, and removes them."""
    one, two = churn.add(), churn.add()
    churn.promote(one)
    churn.promote(two, "challenger")
    log, environment = tmp_path / "ray.log", {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "HOME": str(tmp_path)}
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # a socket's path must be short
        ports = ("--port", "6391", "--dashboard-port", "8291", "--temp-dir", folder)
        words = ("-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus", "2", *ports)
        with child(*words, log=log, environment=environment) as cluster:
            until(lambda: "Ray runtime started" in log.read_text() or cluster.poll() is not None, "Ray runs")
            joined = {"RAY_ADDRESS": "127.0.0.1:6391"}
            first = serve_on_ray("churn@champion", "--replicas", "1:2", **joined)
            assert first.url.endswith("/churn@champion")
            first.process.kill()
            first.process.wait(60)
            assert first.ask().headers["x-model-version"] == one
            second = serve_on_ray("churn@champion", "--canary", "churn@challenger:50%", **joined)
            assert "is on Ray Serve already" in second.said()
            assert second.url == first.url
            second.wait_for("churn@challenger is version 2, which answers from now on", 240)
            answers = [second.ask() for _ in range(30)]
            assert all(map(is_own, answers))
            assert {answer.headers["x-model-version"] for answer in answers} == {one, two}
            churn.promote(two)
            second.wait_for("churn@champion is version 2, which answers from now on")
            assert {second.ask().headers["x-model-version"] for _ in range(10)} == {two}
            second.process.send_signal(signal.SIGINT)
            assert second.process.wait(90) == 0
            until(lambda: second.ask().status_code == 404, "it is removed")
            assert cluster.poll() is None
