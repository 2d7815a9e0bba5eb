"""Versions that are tried beside the one that answers: a canary gets a share, a shadow is asked and never heard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from tests.ends.processes import until
from tests.serving.conftest import Churn, Server
from tests.serving.test_kept_requests import rows
from tests.serving.test_serve_model import is_own

from flowml import RegistryError, SettingsError
from flowml.serving.monitoring.reporting import EXPERIMENT
from flowml.serving.slots import canary_of


@pytest.fixture
def two(churn: Churn) -> Churn:
    """A champion, version 1, and a challenger, version 2."""
    churn.promote(churn.add())
    churn.promote(churn.add(), "challenger")
    return churn


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_a_canary_gets_its_share(two: Churn, serve: Callable[..., Server]) -> None:
    """Whoever sends the same value of the header has the same version; MLflow is told what each of them did."""
    server = serve("churn@champion", "--canary", "churn@challenger:30%", "--canary-by", "X-User", "--report", "1s")
    until(lambda: "churn@challenger is version 2" in server.said(), "the canary answers")
    asked = {f"user-{number}": server.ask(**{"X-User": f"user-{number}"}) for number in range(100)}
    assert all(map(is_own, asked.values()))
    versions = Counter(answer.headers["x-model-version"] for answer in asked.values())
    assert 15 <= versions["2"] <= 45  # of 100 at 30 %
    again = {user: server.ask(**{"X-User": user}).headers["x-model-version"] for user in list(asked)[:20]}
    assert again == {user: asked[user].headers["x-model-version"] for user in again}
    told = requests_told(two)
    until(lambda: sum(told().values()) == 120, "MLflow is told of all")
    assert told()["churn/2"] >= versions["2"]


def requests_told(churn: Churn) -> Callable[[], Counter[str]]:
    """Return what tells of how many requests MLflow knows for each version."""

    def told() -> Counter[str]:
        found = Counter[str]()
        if experiment := churn.client.get_experiment_by_name(EXPERIMENT):
            for run in churn.client.search_runs([experiment.experiment_id]):
                history = churn.client.get_metric_history(run.info.run_id, "requests")
                found[run.data.tags["flowml.model_version"]] += int(sum(point.value for point in history))
        return found

    return told


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_a_shadow_is_asked_and_never_heard(two: Churn, serve: Callable[..., Server]) -> None:
    """Every answer is the champion's; both are kept side by side, and MLflow is told how many are the same."""
    server = serve("churn@champion", "--shadow", "churn@challenger", "--report", "1s")
    until(lambda: "churn@challenger is version 2" in server.said(), "the shadow is there")
    answers = [server.ask() for _ in range(5)]
    assert {answer.headers["x-model-version"] for answer in answers} == {"1"}
    kept = rows(two.folder, "shadow", 5)
    assert list(kept["id"]) == [answer.headers["x-request-id"] for answer in answers]
    assert set(kept["shadow_answer"]) == {'{"predictions": [2.0, 2.0]}'}
    assert (set(kept["shadow_version"]), set(kept["equal"])) == ({"2"}, {False})
    until(lambda: requests_told(two)()["churn/2"] == 5, "MLflow is told")
    experiment = two.client.get_experiment_by_name(EXPERIMENT)
    (run,) = two.client.search_runs([experiment.experiment_id], "tags.`flowml.model_version` = 'churn/2'")
    assert run.data.metrics["shadow.equal"] == 0
    model = two.client.get_logged_model(two.client.get_model_version("churn", "2").source.removeprefix("models:/"))
    assert "milliseconds.p99" in {metric.key for metric in model.metrics}


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_a_bad_version_beside_harms_nobody(churn: Churn, serve: Callable[..., Server]) -> None:
    """One that does not load is told of, and the champion answers all."""
    churn.promote(churn.add())
    churn.promote(churn.add(spoil=lambda folder: (folder / "model.skops").write_bytes(b"no model")), "challenger")
    server = serve("churn@champion", "--canary", "churn@challenger:50%", "--shadow", "churn@challenger")
    server.wait_for("churn@challenger is version 2 now, which is not served")
    assert {server.ask().headers["x-model-version"] for _ in range(10)} == {"1"}


@pytest.mark.parametrize("text", ["churn@new", "churn@new:5", "churn@new:0%", "churn@new:100%", ":5%"])
def test_what_is_no_share_is_said(text: str) -> None:
    """The message has the value, and how to write it."""
    with pytest.raises(SettingsError, match="such as churn@challenger:5%"):
        canary_of(text)


def test_a_canary_needs_a_version() -> None:
    """A model's name alone names no version."""
    with pytest.raises(RegistryError, match="without an alias or a version"):
        canary_of("churn:5%")
