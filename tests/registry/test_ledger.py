"""The ledger of a model: every decision once, in order, whoever writes at the same moment."""

from __future__ import annotations

import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, nullcontext
from dataclasses import replace

import pytest
from mlflow.exceptions import MlflowException

from flowml.store.ledger import Decision, Ledger, broken
from flowml.store.ledger.heard import hear
from flowml.store.ledger.moving import ANY, Aliases, StaleError
from flowml.store.ledger.order import ASKED, ASKED_ON


def move(version, alias="champion", who="ada", **more):
    """Wish that an alias moves."""
    return Decision(kind="move", version=version, alias=alias, who=who, facts={"how": "promote"}, **more)


def test_writers_at_the_same_moment_make_one_chain(versions):
    """Of 40 decisions by 8 threads, each begun without a ledger, all are in one chain, once, and it holds."""
    client = versions("churn", 1)

    def decide(number: int) -> None:
        Ledger(client, "churn").append(Decision(kind="approval", version="1", who=f"user {number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decide, range(40)))
    entries = Ledger(client, "churn").entries()
    assert [entry.number for entry in entries] == list(range(1, 41))
    assert Counter(entry.decision.who for entry in entries) == Counter(f"user {number}" for number in range(40))
    assert list(broken(entries)) == []


def test_a_changed_entry_breaks_the_chain(versions, project):
    """An entry that somebody changes in MLflow's database, or takes away, shows."""
    client = versions("churn", 1)
    ledger = Ledger(client, "churn")
    for who in ("ada", "bob", "cy"):
        ledger.append(Decision(kind="approval", version="1", who=who, why="good"))
    with closing(sqlite3.connect(project / ".flowml" / "mlflow.db")) as database:
        database.execute("UPDATE params SET value = replace(value, 'bob', 'eve') WHERE key = '000002'")
        database.commit()
    assert [number for number, _ in broken(ledger.entries())] == [2]
    with closing(sqlite3.connect(project / ".flowml" / "mlflow.db")) as database:
        database.execute("DELETE FROM params WHERE key = '000002'")
        database.commit()
    assert [number for number, _ in broken(ledger.entries())] == [2]


def test_moves_at_the_same_moment_have_one_winner_each(versions):
    """Of threads that all expect the same champion one wins, the others are told; the last move is where it is."""
    client = versions("churn", 8)

    def promote(version: int) -> str | None:
        try:
            Aliases(client, "churn").move(move(str(version)), expect=None)
        except StaleError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(promote, range(1, 9)))
    winner = str(told.index(None) + 1)
    assert told.count(None) == 1
    assert all("Nothing was changed" in text for text in told if text)
    assert Aliases(client, "churn").now() == {"champion": winner}
    assert [entry.decision.version for entry in Ledger(client, "churn").entries()] == [winner]


def test_moves_follow_each_other_without_a_gap(versions):
    """Where no champion is expected each of 60 moves is made, and says rightly what it replaced."""
    client = versions("churn", 6)

    def promote(number: int) -> None:
        Aliases(client, "churn").move(move(str(number % 6 + 1)), expect=ANY)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(promote, range(60)))
    moves = [entry.decision for entry in Ledger(client, "churn").entries()]
    assert [one.was for one in moves] == [None, *(one.version for one in moves[:-1])]
    assert Aliases(client, "churn").now() == {"champion": moves[-1].version, "previous": moves[-1].was}


def test_a_move_by_hand_is_noted(versions):
    """What somebody moved in MLflow itself stands in the ledger before the next decision, as what it is."""
    client = versions("churn", 3)
    Aliases(client, "churn").move(move("1"))
    client.set_registered_model_alias("churn", "champion", "2")
    Aliases(client, "churn").move(move("3"))
    client.delete_registered_model_alias("churn", "champion")
    entries = Aliases(client, "churn").settled("champion")
    told = [(one.decision.was, one.decision.version, one.decision.facts["how"]) for one in entries]
    assert told == [(None, "1", "promote"), ("1", "2", "outside"), ("2", "3", "promote"), ("3", None, "outside")]
    assert Aliases(client, "churn").settled("champion")[-1].decision.version is None


def test_a_move_that_is_told_of_while_another_is_decided(versions):
    """MLflow tells of a move by hand while flowml's next one is decided and not made: each is noted once, in order."""
    client = versions("churn", 3)
    aliases = Aliases(client, "churn")
    aliases.move(move("1"))
    client.set_registered_model_alias("churn", "champion", "2")
    decided = aliases.ledger.append(move("3", was="1"))
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(hear, client, "churn", "champion", "2", "message 1")
        wait([heard], timeout=0.5)
        client.set_registered_model_alias("churn", "champion", "3")
        aliases.ledger.apply(decided)
        assert heard.result().decision.facts == {"how": "outside", "overwritten": True}
    entries = aliases.settled("champion")
    assert [one.decision.version for one in entries] == ["1", "3", "2"]


def test_a_decision_whose_process_was_killed_is_void(versions, monkeypatch):
    """A move that was decided and not made is not made by somebody else, and holds nobody up."""
    monkeypatch.setattr("flowml.store.ledger.pending._PATIENCE", 0.1)
    client = versions("churn", 2)
    Ledger(client, "churn").append(move("1"))
    assert Aliases(client, "churn").move(move("2")).before is None
    assert Aliases(client, "churn").now() == {"champion": "2"}
    assert [entry.is_void for entry in Ledger(client, "churn").entries()] == [True, False]


def test_previous_follows_a_move_whose_process_was_killed(versions, monkeypatch):
    """A move that MLflow has, and that nobody noted, is found made, and the version before is `previous`."""
    monkeypatch.setattr("flowml.store.ledger.pending._PATIENCE", 0.1)
    client = versions("churn", 2)
    Aliases(client, "churn").move(move("1"))
    Ledger(client, "churn").append(move("2", was="1"))
    client.set_registered_model_alias("churn", "champion", "2")
    assert [entry.is_void for entry in Aliases(client, "churn").settled("champion")] == [False, False]
    assert Aliases(client, "churn").now() == {"champion": "2", "previous": "1"}


def test_a_move_that_mlflow_refuses_is_never_made(versions, monkeypatch):
    """Whoever comes later, perhaps with other rights, does not carry out what was refused to somebody."""
    client = versions("churn", 2)
    Aliases(client, "churn").move(move("1"))

    def refuse(*_):
        raise MlflowException("Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(client, "set_registered_model_alias", refuse)
        with pytest.raises(MlflowException, match="Permission denied"):
            Aliases(client, "churn").move(move("2"))
    entries = Aliases(client, "churn").settled("champion")
    assert [entry.is_void for entry in entries] == [False, True]
    assert Aliases(client, "churn").now() == {"champion": "1"}


@pytest.mark.parametrize(
    "seconds, clock, champion",
    [
        (-120, "another", "1"),  # two minutes before the other was asked for
        (-120, "one", "1"),
        (-1, "another", "2"),  # perhaps, by another machine's clock
        (-1, "one", "1"),
        (1, "one", "2"),
    ],
)
def test_a_move_that_mlflow_is_told_of_late(versions, seconds, clock, champion):
    """An alias stays with the move that was asked for last, whichever comes first; the ledger has both."""
    client = versions("churn", 2)
    aliases = Aliases(client, "churn")

    def wish(version, asked, asked_on):
        facts = {"how": "marker", ASKED: 1_800_000_000_000 + asked * 1000, ASKED_ON: asked_on}
        return Decision(kind="move", version=version, alias="champion", who="ada", facts=facts)

    aliases.move(wish("1", 0, "one"))
    moved = aliases.move(wish("2", seconds, clock))
    assert aliases.now()["champion"] == champion
    assert moved.is_late == (champion == "1")
    entries = aliases.settled("champion")
    assert [(entry.decision.version, entry.is_void) for entry in entries] == [("1", False), ("2", champion == "1")]
    assert list(broken(entries)) == []


def test_a_move_by_hand_that_may_have_come_before(versions):
    """Nobody knows when an alias was moved by hand that is found now, so that what was asked for late takes it."""
    client = versions("churn", 2)
    client.set_registered_model_alias("churn", "champion", "1")
    wish = move("2")
    Aliases(client, "churn").move(replace(wish, facts={**wish.facts, ASKED: 1}))
    assert Aliases(client, "churn").now() == {"champion": "2", "previous": "1"}


@pytest.mark.parametrize("is_made", [True, False])
def test_a_move_whose_answer_was_lost_is_what_mlflow_has(versions, monkeypatch, *, is_made: bool):
    """Where MLflow was asked, and the connection broke, the history says what came of it, and by whom."""
    client = versions("churn", 2)
    Aliases(client, "churn").move(move("1"))
    ask = client.set_registered_model_alias

    def lose(model, alias, version):
        if is_made or alias != "champion":
            ask(model, alias, version)
        if alias != "champion":
            return
        msg = "Connection reset by peer"
        raise ConnectionError(msg)

    with monkeypatch.context() as patched:
        patched.setattr(client, "set_registered_model_alias", lose)
        with nullcontext() if is_made else pytest.raises(ConnectionError):
            Aliases(client, "churn").move(move("2"))
    entries = Aliases(client, "churn").settled("champion")
    assert [(entry.decision.version, entry.is_void) for entry in entries] == [("1", False), ("2", not is_made)]
    assert Aliases(client, "churn").now() == ({"champion": "2", "previous": "1"} if is_made else {"champion": "1"})


def test_an_alias_of_the_users_own_stays(versions):
    """A `previous` that somebody has given to a version is not taken away."""
    client = versions("churn", 3)
    client.set_registered_model_alias("churn", "previous", "3")
    for version in ("1", "2"):
        Aliases(client, "churn").move(move(version))
    assert Aliases(client, "churn").now() == {"champion": "2", "previous": "3"}


def test_the_ledger_is_found_after_renaming(versions):
    """Whoever renames the experiment, or the registered model, loses no history."""
    client = versions('it\'s "churn"', 2)
    Aliases(client, 'it\'s "churn"').move(move("1"))
    client.rename_experiment(client.get_experiment_by_name("flowml registry").experiment_id, "decisions")
    client.rename_registered_model('it\'s "churn"', "attrition")
    entries = Aliases(client, "attrition").settled("champion")
    assert [entry.decision.facts["how"] for entry in entries] == ["promote"]


def test_a_reason_that_is_too_long_is_cut(versions):
    """A decision is kept whatever its reason: of a long one as much as MLflow keeps."""
    client = versions("churn", 1)
    Ledger(client, "churn").append(Decision(kind="approval", version="1", who="ada", why="長い" * 5000))
    (entry,) = Ledger(client, "churn").entries()
    assert entry.decision.why.startswith("長い" * 2000)
    assert entry.decision.why.endswith(" … (cut)")
    assert list(broken([entry])) == []
