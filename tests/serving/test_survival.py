"""What happens to requests when a process ends, or MLflow is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from tests.conformance.proxy import Fault, Proxy
from tests.ends.processes import until
from tests.projects.conftest import served_store  # noqa: F401 - a fixture
from tests.serving.conftest import ASKED, Churn, Server
from tests.serving.test_serve_model import asked_while, is_own, spoil_model

from flowml import settings

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def below(server: Server, words: str) -> list[psutil.Process]:
    """Return the processes that it has started and that run, by what is in their command lines."""
    found = []
    for one in psutil.Process(server.process.pid).children(recursive=True):
        with suppress(psutil.Error):  # it has ended
            if one.status() != psutil.STATUS_ZOMBIE and words in " ".join(one.cmdline()):
                found.append(one)
    return found


@pytest.fixture
def proxy(served_store: Callable[[], str], project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:  # noqa: F811
    """What stands between the server of the model and MLflow's."""
    address = served_store()
    monkeypatch.setenv("FLOWML_TRACKING_URI", address)
    settings.reload()
    with Proxy(address) as between:
        yield between


@pytest.mark.slow
def test_a_killed_worker_is_replaced(proxy: Proxy, churn: Churn, serve: Callable[..., Server]) -> None:
    """The other one goes on, and soon there are two again, also while MLflow is away. One line tells what all see."""
    churn.promote(churn.add())
    server = serve("churn@champion", "--workers", "2", "--sample", "1", FLOWML_TRACKING_URI=proxy.address)
    until(lambda: ask_anew(server) and len(answering(churn)) == 2, "both answer", every=0.05)
    churn.promote(churn.add(spoil=spoil_model))
    server.wait_for("is version 2 now, which is not served")
    seen = len(proxy.requests)
    until(lambda: len(proxy.requests) > seen + 10, "both have looked")
    churn.promote(churn.add())
    until(lambda: {ask_anew(server).headers["x-model-version"] for _ in range(20)} == {"3"}, "both go on")
    told = ["is version 1, which answers", "is version 2 now, which is not", "is version 3, which answers"]
    assert [server.said().count(line) for line in told] == [1, 1, 1]
    proxy.fail_from(1, Fault("refuse"))
    killed = below(server, "spawn_main")[0]
    killed.kill()
    until(lambda: len(set(below(server, "spawn_main")) - {killed}) == 2, "there are two")
    until(lambda: "Serving churn version 3" in server.said(), "the new one serves what was served last")
    assert {ask_anew(server).status_code for _ in range(20)} == {200}


def answering(churn: Churn) -> set[str]:
    """Return the ids of the processes that have kept requests."""
    return {file.name.split("-")[1] for file in churn.folder.glob(".flowml/serving/*/requests/*.parquet")}


def ask_anew(server: Server) -> httpx.Response:
    """Ask over a connection of its own, which any worker may take."""
    return httpx.post(f"{server.url}/invocations", json=ASKED, timeout=60)


def test_requests_go_on_while_mlflow_is_away(proxy: Proxy, churn: Churn, serve: Callable[..., Server]) -> None:
    """The version in force answers; that MLflow is away is said once, and the alias is followed again afterwards."""
    churn.promote(churn.add())
    second = churn.add()
    server = serve("churn@champion", FLOWML_TRACKING_URI=proxy.address)

    def lose_it() -> None:
        proxy.fail_from(1, Fault("status", status=500))
        server.wait_for("MLflow cannot be asked")
        seen = len(proxy.requests)
        until(lambda: len(proxy.requests) > seen + 2, "it asks again")
        proxy.heal()

    answers = asked_while(server, lose_it, 20)
    assert {answer.status_code for answer in answers} == {200}
    assert server.said().count("MLflow cannot be asked") == 1
    churn.promote(second)
    until(lambda: server.ask().headers["x-model-version"] == "2", "it is followed again", every=0.05)


@pytest.mark.slow
def test_a_version_with_other_packages_has_a_process_of_its_own(churn: Churn, serve: Callable[..., Server]) -> None:
    """It gets an environment by uv, answers behind the same address, and is started again when it is killed."""
    churn.promote(churn.add())
    other = churn.add(more="cowsay==6.1")
    server = serve("churn@champion")

    def promote() -> None:
        churn.promote(other)
        until(lambda: server.ask().headers["x-model-version"] == "2", "it answers", 300)

    answers = asked_while(server, promote, 10)
    assert {answer.status_code for answer in answers} == {200}
    assert all(map(is_own, answers))
    (own,) = below(server, "environments")
    own.kill()
    for _ in range(50):
        answer = server.ask()
        assert answer.status_code == 200 or answer.headers["retry-after"]
    until(lambda: server.ask().status_code == 200, "it answers again")
    assert is_own(server.ask())
    churn.promote("1")
    until(lambda: server.ask().headers["x-model-version"] == "1", "the first one again", every=0.05)
    until(lambda: not below(server, "environments"), "its process has ended")
