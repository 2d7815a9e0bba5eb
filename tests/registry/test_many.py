"""1,000 promotions by 8 processes at the same time: each move has one winner, and the history has them all."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tests.ends.processes import until

from flowml.registry import history
from flowml.store.backend.connection import connect
from flowml.store.ledger import broken
from flowml.store.ledger.order import OVERWRITTEN

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]

PROCESSES, EACH, VERSIONS = 8, 125, 6
BY_HAND = 50


def promoted_by_many(client: MlflowClient, environment: Mapping[str, str], by_hand: int = 0) -> list[dict[str, str]]:
    """Let processes promote, and a person between; return what came of each try."""
    client.create_registered_model("churn")
    for number in range(VERSIONS + 1):
        client.create_model_version("churn", f"s3://nowhere/{number + 1}")
    program = Path(__file__).with_name("promoter.py")
    words = [sys.executable, str(program), "churn"]
    started = [
        subprocess.Popen(
            [*words, f"p{n}", str(EACH), str(VERSIONS)], stdout=subprocess.PIPE, env=environment, text=True
        )
        for n in range(PROCESSES)
    ]
    until(lambda: "champion" in client.get_registered_model("churn").aliases, "the first promotion")
    for _ in range(by_hand):
        client.set_registered_model_alias("churn", "champion", random.choice([VERSIONS + 1, 1]))
    told = [json.loads(line) for one in started for line in one.communicate()[0].splitlines()]
    assert [one.returncode for one in started] == [0] * PROCESSES
    return told


def check(client: MlflowClient, told: list[dict[str, str]]) -> list[history.Move]:
    """Compare what the processes were told with the history; return it."""
    entries = history.entries_of(client, "churn")
    moves = history.moves_in(entries)
    won = {one["why"]: (one["before"], one["version"]) for one in told if "version" in one}
    assert len(told) == PROCESSES * EACH
    assert {one.why: (one.before, one.version) for one in moves if one.how == "promote"} == won
    assert list(broken(entries)) == []
    standing = [one for one, entry in zip(moves, entries, strict=True) if not entry.decision.facts.get(OVERWRITTEN)]
    assert str(client.get_model_version_by_alias("churn", "champion").version) == standing[-1].version
    return moves


def test_in_a_database(project: Path, environment: Mapping[str, str]) -> None:
    """Over SQLite, and each move says rightly what it replaced."""
    client = connect().client
    moves = check(client, promoted_by_many(client, environment))
    assert [one.before for one in moves] == [None, *(one.version for one in moves[:-1])]


def test_over_http_with_moves_by_hand(
    server: str,
    receiver: object,
    environment: Mapping[str, str],
) -> None:
    """Over HTTP, with 50 moves by hand among them, of which webhooks tell: each is in the history as what it is."""
    client = MlflowClient(server)
    told = promoted_by_many(client, {**environment, "FLOWML_TRACKING_URI": server}, BY_HAND)

    def by_hand() -> int:
        return sum(one.how == "outside" for one in history.moves_in(history.entries_of(client, "churn")))

    until(lambda: by_hand() >= BY_HAND, "all moves by hand are known")
    moves = check(client, told)
    assert sum(one.how == "outside" for one in moves) == BY_HAND
