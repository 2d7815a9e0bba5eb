"""`flowml serve-model`: what it answers, and by which version."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.ends.processes import until
from tests.serving.conftest import ASKED, Churn, Server
from tests.serving.test_page import WITH_TOKEN, examples, send

from flowml import SettingsError
from flowml.serving.server import Options
from flowml.serving.server import serve as run_server
from flowml.serving.versions import Limits, Loading
from flowml.store.registered import ModelRef

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_each_answer_says_which_version_it_is_from(churn: Churn, serve: Callable[..., Server]) -> None:
    """The body is MLflow's own; headers name the model, the version, the logged model and the request."""
    version = churn.add()
    churn.promote(version)
    server = serve("churn@champion")
    answer = server.ask()
    assert answer.json() == {"predictions": [1.0, 1.0]}
    found = churn.client.get_model_version("churn", version)
    named = {key: answer.headers[f"x-model-{key}"] for key in ("name", "version", "id")}
    assert named == {"name": "churn", "version": "1", "id": found.source.removeprefix("models:/")}
    assert len(answer.headers["x-request-id"]) == 32
    assert httpx.get(f"{server.url}/version").text[0].isdigit()
    assert server.ask({"rows": 1}).status_code == 400  # MLflow's own words
    assert "exactly one of the input fields" in server.ask({"rows": 1}).json()["message"]


def test_a_promotion_and_a_rollback_are_followed(churn: Churn, serve: Callable[..., Server]) -> None:
    """The version that has the alias answers, a moment after it was given it."""
    one, two = churn.add(), churn.add()
    churn.promote(one)
    server = serve("churn@champion")
    for version in (two, one, two):
        churn.promote(version)
        until(lambda: server.ask().headers["x-model-version"] == version, f"version {version}", every=0.05)  # noqa: B023
        assert server.ask().json() == {"predictions": [float(version)] * 2}


def spoil_example(folder: Path) -> None:
    """Let a version's own example be one that it does not take."""
    for name in ("serving_input_example.json", "input_example.json"):
        (folder / name).write_text('{"dataframe_split": {"columns": ["other"], "data": [["x"]]}}')


def spoil_model(folder: Path) -> None:
    """Leave a model that cannot be read."""
    (folder / "model.skops").write_bytes(b"no model")


def spoil_flavor(folder: Path) -> None:
    """Leave a model that has no `predict`."""
    file = folder / "MLmodel"
    told = yaml.safe_load(file.read_text())
    del told["flavors"]["python_function"]
    file.write_text(yaml.safe_dump(told))


def bring_a_pickle(folder: Path) -> None:
    """Leave a file that runs what it says."""
    (folder / "model.pkl").write_bytes(b"")


@pytest.mark.parametrize(
    "spoil, why",
    [
        (spoil_example, "does not answer its own input example"),
        pytest.param(spoil_model, "which is not served", marks=pytest.mark.slow),
        pytest.param(spoil_flavor, "has no `predict`", marks=pytest.mark.slow),
        (bring_a_pickle, "is saved by pickle (model.pkl)"),
    ],
)
def test_a_version_that_cannot_answer_never_does(
    spoil: Callable[[Path], None], why: str, churn: Churn, serve: Callable[..., Server]
) -> None:
    """A version that does not load, may not be, or fails its own example, is told of; the one before goes on."""
    one, bad = churn.add(), churn.add(spoil=spoil)
    churn.promote(one)
    server = serve("churn@champion")
    churn.promote(bad)
    server.wait_for("is version 2 now, which is not served")
    assert "Version 1 goes on." in server.said()
    assert why in server.said()
    assert server.ask().headers["x-model-version"] == one
    churn.promote(churn.add())
    until(lambda: server.ask().headers["x-model-version"] == "3", "the next one answers", every=0.05)


def test_no_request_is_lost_while_versions_change(churn: Churn, serve: Callable[..., Server]) -> None:
    """Each of many requests is answered, by what the version that it names predicts."""
    versions = [churn.add(), churn.add(), churn.add(spoil=spoil_model), churn.add(spoil=spoil_example)]
    churn.promote(versions[0])
    server = serve("churn@champion")
    answers = asked_while(server, lambda: [_promote(churn, version) for version in versions * 2], 20)
    assert {answer.status_code for answer in answers} == {200}
    assert {wrong.text for wrong in answers if not is_own(wrong)} == set()
    assert {answer.headers["x-model-version"] for answer in answers} == {"1", "2"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_requests_over_fifty_moves(churn: Churn, serve: Callable[..., Server]) -> None:
    """50 a second, while promotions and rollbacks go to versions that load, that do not, and that bring packages."""
    good = [churn.add(), churn.add(), churn.add(more="cowsay==6.1")]
    bad = [churn.add(spoil=spoil_model), churn.add(spoil=spoil_example)]
    churn.promote(good[0])
    server = serve("churn@champion")
    churn.promote(good[2])
    until(lambda: server.ask().headers["x-model-version"] == good[2], "its environment is made", 300)
    assert_none_is_lost_over_fifty_moves(churn, server, good, bad)


def assert_none_is_lost_over_fifty_moves(churn: Churn, server: Server, good: list[str], bad: list[str]) -> None:
    """Ask 50 times a second while the alias goes from version to version, for 200 seconds."""
    late: dict[str, list[float]] = {version: [] for version in good}

    def move_often() -> None:
        for number in range(50):
            version = [*good, *bad][number % 5]
            began = time.monotonic()
            churn.promote(version)
            if version in good:
                until(lambda: server.ask().headers["x-model-version"] == version, version, 300, every=0.05)  # noqa: B023
                late[version].append(time.monotonic() - began)
            time.sleep(max(0.0, 4 - (time.monotonic() - began)))  # so that there are ten thousand requests

    answers = asked_while(server, move_often, 50)
    milliseconds = sorted(answer.elapsed.total_seconds() * 1000 for answer in answers)
    print(  # noqa: T201 - the figures, with `pytest -s`
        f"{len(answers)} answers, p50 {milliseconds[len(answers) // 2]:.1f} ms, p99 "
        f"{milliseconds[len(answers) * 99 // 100]:.1f} ms; seconds until each version answered: {late}"
    )
    assert len(answers) > 9_000  # on a busy machine some come late
    assert {answer.status_code for answer in answers} == {200}
    assert {wrong.text for wrong in answers if not is_own(wrong)} == set()
    assert {answer.headers["x-model-version"] for answer in answers} == set(good)
    assert max(max(each) for each in late.values()) < 10, late


def _promote(churn: Churn, version: str) -> None:
    churn.promote(version)
    time.sleep(1)  # the requests of this second are what is looked at


def asked_while(server: Server, act: Callable[[], object], at_a_second: int) -> list[httpx.Response]:
    """Ask so often each second, while something is done."""
    over = threading.Event()
    with httpx.Client(timeout=60, headers=server.headers) as client, ThreadPoolExecutor(16) as pool:

        def ask_all() -> list[httpx.Response]:
            asked = []
            while not over.wait(1 / at_a_second):
                asked.append(pool.submit(client.post, f"{server.url}/invocations", json=ASKED))
            return [each.result() for each in asked]

        with ThreadPoolExecutor(1) as asking:
            answers = asking.submit(ask_all)
            try:
                act()
            finally:
                over.set()
            return answers.result()


def is_own(answer: httpx.Response) -> bool:
    """Tell whether an answer is what its version predicts."""
    return answer.json() == {"predictions": [float(answer.headers["x-model-version"])] * 2}


@pytest.mark.slow
def test_a_deleted_alias_is_told_of(churn: Churn, serve: Callable[..., Server]) -> None:
    """Without the alias the last version goes on, and it is said once."""
    churn.promote(churn.add())
    server = serve("churn@champion")
    churn.client.delete_registered_model_alias("churn", "champion")
    server.wait_for("Version 1 goes on.")
    assert server.ask().status_code == 200
    churn.promote("1")
    churn.promote(churn.add())
    until(lambda: server.ask().headers["x-model-version"] == "2", "it is followed again", every=0.05)
    assert server.said().count("Version 1 goes on.") == 1


@pytest.mark.parametrize(
    "words, told",
    [
        (["churn@champoin"], "churn has no alias 'champoin'. Did you mean 'champion'?"),
        (["chrn@champion"], "There is no registered model 'chrn'. Did you mean 'churn'?"),
        (["churn@champion", "--token-env", "NO_SUCH"], "The environment variable NO_SUCH is to hold the token"),
    ],
)
def test_what_cannot_be_served_is_said(words: list[str], told: str, churn: Churn, serve: Callable[..., Server]) -> None:
    """It ends with 2, and says what to write."""
    churn.promote(churn.add())
    server = serve(*words, ready=False)
    assert server.process.wait(60) == 2
    assert told in server.said()


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_first_version_that_cannot_answer_ends_the_server(
    workers: str, churn: Churn, serve: Callable[..., Server]
) -> None:
    """It says why, once, and ends, however many processes there are."""
    churn.promote(churn.add(spoil=spoil_model))
    server = serve("churn@champion", "--workers", workers, ready=False)
    assert server.process.wait(120) == 2
    assert server.said().count("churn@champion is not served: BadZipFile: File is not a zip file.") == 1


@pytest.mark.parametrize(
    "options, told",
    [
        ({"host": "0.0.0.0"}, "--token-env NAME"),
        ({"token": "short"}, "takes 16 or more"),
        ({"token": "of-enough-length-with-an-end\n"}, "white space"),
        ({"workers": 0}, "--workers cannot be 0"),
        ({"sample": -3}, "--sample cannot be -3"),
        ({"every": 0.0}, "--every cannot be 0"),
        ({"port": 70000}, "--port cannot be 70000"),
        ({"loading": Loading(Limits(body=-1))}, "--max-body cannot be -1"),
        ({"loading": Loading(Limits(seconds=0.0))}, "--timeout cannot be 0"),
        ({"canary": "churn@champion:5%"}, "churn@champion is what answers already"),
        ({"shadow": "churn@champion"}, "churn@champion is what answers already"),
    ],
)
def test_options_that_cannot_be_are_said(options: dict[str, Any], told: str) -> None:
    """The message has the option and the value; nothing is asked or started."""
    with pytest.raises(SettingsError, match=re.escape(told)):
        run_server(Options(ModelRef("churn", alias="champion"), **options))


@pytest.mark.slow
def test_a_port_that_is_taken_is_said(churn: Churn, serve: Callable[..., Server]) -> None:
    """It takes the next free one."""
    churn.promote(churn.add())
    first = serve("churn@champion", "--port", "5870")
    taken = int(first.url.rpartition(":")[2])
    second = serve("churn@champion", "--port", str(taken))
    assert f"Port {taken} is taken: taking {second.url.rpartition(':')[2]}." in second.said()
    assert second.ask().status_code == 200


@pytest.mark.slow
def test_a_token_is_asked_for(churn: Churn, serve: Callable[..., Server]) -> None:
    """Without it nobody asks the model; who looks after the server needs none."""
    churn.promote(churn.add())
    token = "a-token-of-enough-length"
    server = serve("churn@champion", "--token-env", "MY_TOKEN", MY_TOKEN=token)
    refused = server.ask()
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert server.ask(Authorization=f"Bearer {token}x").status_code == 401
    assert server.ask(Authorization=f"Bearer {token}").status_code == 200
    assert httpx.get(f"{server.url}/ping").status_code == 200
    (example,) = (command for command, _ in examples() if WITH_TOKEN in command)
    for told, status in ((token, 200), ("another", 401)):
        command = example.replace(WITH_TOKEN, told).replace("http://127.0.0.1:5001", server.url)
        assert send(command).status_code == status
    assert token not in server.said()


@pytest.mark.slow
def test_a_request_may_be_too_long(churn: Churn, serve: Callable[..., Server]) -> None:
    """It is refused, whether it says its length or not."""
    churn.promote(churn.add())
    server = serve("churn@champion", "--max-body", "1000")
    long = b'{"inputs": "' + b"x" * 2000 + b'"}'
    headers = {"content-type": "application/json"}
    for content in (long, iter([long[:900], long[900:]])):
        answer = httpx.post(f"{server.url}/invocations", content=content, headers=headers)
        assert (answer.status_code, "1,000 bytes" in answer.json()["message"]) == (413, True)
    assert server.ask().status_code == 200
