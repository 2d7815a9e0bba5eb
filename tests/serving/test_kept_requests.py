"""Some requests are kept for who watches the model, and what people say was right about an answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pandas as pd
import pytest
from tests.ends.processes import until
from tests.serving.conftest import ASKED, Churn, Server

from flowml import formats, served_metrics, served_requests

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def rows(project: Path, kind: str, count: int) -> pd.DataFrame:
    """Wait until so many rows are kept, and return them in their order."""

    def read() -> list[pd.DataFrame]:
        files = [pd.read_parquet(file) for file in project.glob(f".flowml/serving/*/{kind}/*.parquet")]
        return files if sum(map(len, files)) >= count else []

    return pd.concat(until(read, f"{count} rows of {kind}", 60)).sort_values("time")


@pytest.mark.slow
def test_every_second_request_is_kept(churn: Churn, serve: Callable[..., Server]) -> None:
    """A row has what was asked and answered, by which version, when; secrets are masked; a span is read."""
    churn.promote(churn.add())
    server = serve("churn@champion", "--sample", "2")
    answers = [server.ask() for _ in range(5)]
    answers.append(server.ask({"inputs": "x", "api_key": "sk-proj-4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c"}))
    kept = rows(churn.folder, "requests", 3)
    assert list(kept["id"]) == [answer.headers["x-request-id"] for answer in answers[1::2]]
    first = kept.iloc[0]
    assert json.loads(first["request"]) == ASKED
    assert json.loads(first["answer"]) == {"predictions": [1.0, 1.0]}
    assert (first["model"], first["version"], first["status"]) == ("churn", "1", 200)
    assert (first["milliseconds"] > 0, first["content_type"]) == (True, "application/json")
    assert kept.iloc[2]["status"] == 400
    assert "4f9a8b7c6d5e4f3a2b1c0d9e" not in kept.iloc[2]["request"]
    read, numbers = served_requests("churn"), list(kept["id"])
    assert (list(read["id"]), list(served_requests("churn", limit=2)["id"])) == (numbers, numbers[1:])
    assert list(served_requests("churn", since=read["time"][1], until=read["time"][2])["id"]) == [numbers[1]]
    (folder,) = churn.folder.glob(".flowml/serving/*/requests")
    (folder / f"{formats.now()}-1-1.parquet").write_bytes(b"no Parquet")
    assert list(served_requests("churn")["id"]) == numbers


@pytest.mark.slow
def test_feedback_is_tied_to_an_answer(churn: Churn, serve: Callable[..., Server]) -> None:
    """What was right is kept with the answer's id; what is no feedback is refused, and said how to write it."""
    churn.promote(churn.add())
    server = serve("churn@champion", "--sample", "1")
    number = server.ask().headers["x-request-id"]
    taken = httpx.post(f"{server.url}/feedback", json={"id": number, "truth": [1, 0]})
    assert (taken.status_code, taken.json()) == (202, {"id": number, "kept": True})
    long, deep = b'{"id": "%s", "truth": "%s"}', b"[" * 100_000
    bad = [b"{}", b"nothing", b"\xff", b"[1]", b'{"id": "7", "truth": 1}', b'{"id": 7, "truth": 1}', deep]
    bad += [b'{"id": "%s", "truth": NaN}' % number.encode(), long % (number.encode(), b"x" * 100_000)]
    for wrong in bad:
        refused = httpx.post(f"{server.url}/feedback", content=wrong)
        assert (refused.status_code, "X-Request-Id" in refused.json()["message"]) == (400, True)
    kept = rows(churn.folder, "feedback", 1)
    both = rows(churn.folder, "requests", 1).merge(kept, on="id")
    assert json.loads(both.iloc[0]["truth"]) == [1, 0]


def test_truths_are_joined_with_the_answers(churn: Churn, serve: Callable[..., Server]) -> None:
    """Also of a server that has ended since: the last truth counts, null takes it back; MLflow has the metrics."""
    churn.promote(churn.add())
    server = serve("churn@champion", "--sample", "1")
    first = [server.ask().headers["x-request-id"] for _ in range(3)]
    server.process.terminate()
    server.process.wait(60)
    server = serve("churn@champion", "--sample", "1", "--report", "1s")
    churn.promote(churn.add())
    until(lambda: server.ask().headers["x-model-version"] == "2", "version 2")
    second = server.ask()
    told = [(first[0], [9, 9]), (first[0], [1, 0]), (first[1], 1), (first[2], 1), (first[2], None)]
    for number, truth in [*told, (second.headers["x-request-id"], [2.5, 2])]:
        assert httpx.post(f"{server.url}/feedback", json={"id": number, "truth": truth}).json()["kept"]
    until(lambda: len(served_requests("churn", with_truth=True)) == 3, "the truths are kept")
    assert list(served_requests("churn", with_truth=True)["truth"]) == [[1, 0], 1, [2.5, 2]]
    right = {"truth.count": 2.0, "truth.unfit": 1.0, "truth.accuracy": 0.5, "truth.mean_absolute_error": 0.5}
    other = {"truth.count": 2.0, "truth.unfit": 0.0, "truth.mean_absolute_error": 0.25}
    measured = served_metrics(served_requests("churn", with_truth=True))
    assert {key: measured["1"][key] for key in right} == right
    assert {key: value for key, value in measured["2"].items() if key.startswith("truth")} == other

    def in_mlflow(version: str) -> dict[str, float]:
        source = churn.client.get_model_version("churn", version).source
        metrics = churn.client.get_logged_model(source.removeprefix("models:/")).metrics or []
        return {each.key: each.value for each in metrics if each.key.startswith("truth")}

    until(lambda: in_mlflow("1") == right, "MLflow knows of the first version, whose server has ended")
    until(lambda: in_mlflow("2") == other, "and of the second")


@pytest.mark.slow
def test_nothing_is_kept_where_nobody_wants_it(churn: Churn, serve: Callable[..., Server]) -> None:
    """`--sample 0` keeps no request, also when the server ends; and feedback hears that its answer was not kept."""
    churn.promote(churn.add())
    server = serve("churn@champion", "--sample", "0")
    number = server.ask().headers["x-request-id"]
    told = httpx.post(f"{server.url}/feedback", json={"id": number, "truth": 1})
    assert (told.status_code, told.json()["kept"], "--sample" in told.json()["message"]) == (202, False, True)
    server.process.terminate()
    server.process.wait(60)
    assert not list(churn.folder.glob(".flowml/serving/*/requests"))
