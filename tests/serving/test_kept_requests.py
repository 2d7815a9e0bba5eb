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

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def rows(project: Path, kind: str, count: int) -> pd.DataFrame:
    """Wait until so many rows are kept, and return them in their order."""

    def read() -> list[pd.DataFrame]:
        files = [pd.read_parquet(file) for file in project.glob(f".flowml/serving/*/{kind}/*.parquet")]
        return files if sum(map(len, files)) >= count else []

    return pd.concat(until(read, f"{count} rows of {kind}", 60)).sort_values("time")


def test_every_second_request_is_kept(churn: Churn, serve: Callable[..., Server]) -> None:
    """A row has what was asked and answered, by which version, when, and how long it took; secrets are masked."""
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


def test_feedback_is_tied_to_an_answer(churn: Churn, serve: Callable[..., Server]) -> None:
    """What was right is kept with the answer's id; what is no feedback is refused, and said how to write it."""
    churn.promote(churn.add())
    server = serve("churn@champion", "--sample", "1")
    number = server.ask().headers["x-request-id"]
    taken = httpx.post(f"{server.url}/feedback", json={"id": number, "truth": [1, 0]})
    assert (taken.status_code, taken.json()) == (202, {"id": number})
    for wrong in (b"{}", b"nothing", b"[1]"):
        refused = httpx.post(f"{server.url}/feedback", content=wrong)
        assert (refused.status_code, "X-Request-Id" in refused.json()["message"]) == (400, True)
    kept = rows(churn.folder, "feedback", 1)
    both = rows(churn.folder, "requests", 1).merge(kept, on="id")
    assert json.loads(both.iloc[0]["truth"]) == [1, 0]


def test_nothing_is_kept_where_nobody_wants_it(churn: Churn, serve: Callable[..., Server]) -> None:
    """`--sample 0` keeps no request, also when the server ends."""
    churn.promote(churn.add())
    server = serve("churn@champion", "--sample", "0")
    assert server.ask().status_code == 200
    server.process.terminate()
    server.process.wait(60)
    assert not list(churn.folder.glob(".flowml/serving/*/requests"))
