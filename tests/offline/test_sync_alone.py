"""Several syncs of a project: one at a time, and one that looks again and again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient
from tests.ends.conftest import environment
from tests.ends.processes import child, until
from tests.store.killed import journals, killed

from flowml.store.journal.background import send_what_was_left

__all__ = ["environment"]

pytestmark = pytest.mark.e2e

LOGGED = """
hold()
opened = open_run(owner("left behind"), track=Track(), parent=None)
opened.put([records.Metric("loss", 0.5)])
opened.close("FINISHED", 2000)
die()
"""


@pytest.fixture
def left(client: MlflowClient, project: Path) -> Path:
    """A project in which a killed process left something."""
    killed(LOGGED, project)
    assert len(journals(project)) == 1
    return project


def names(client: MlflowClient) -> list[str]:
    """Return the names of the runs that are there."""
    found = client.search_runs([each.experiment_id for each in client.search_experiments()])
    return [str(each.info.run_name) for each in found]


@pytest.mark.slow
def test_a_sync_waits_for_another(
    left: Path, client: MlflowClient, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """A sync does not say that it is done while another, such as one in the background, holds what it should send."""
    said = tmp_path / "said"
    with FileLock(left / ".flowml" / "sync.lock") as other:
        assert not send_what_was_left()
        with child("-m", "flowml.cli.app", "sync", log=said, environment=environment, folder=left) as syncing:
            until(lambda: "this one waits for it" in said.read_text(), "it waits")
            assert syncing.poll() is None
            assert names(client) == []
            other.release()
            assert syncing.wait(60) == 0, said.read_text()
    assert names(client) == ["left behind"]
    assert journals(left) == []


def test_a_sync_that_watches_sends_what_comes_later(
    left: Path, client: MlflowClient, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """`flowml sync --watch` goes on, and sends what is left behind after it began."""
    with child(
        "-m",
        "flowml.cli.app",
        "sync",
        "--watch",
        "--every",
        "0.2s",
        log=tmp_path / "said",
        environment=environment,
        folder=left,
    ) as watching:
        until(lambda: names(client) == ["left behind"], "the first is sent")
        killed(LOGGED.replace("left behind", "later"), left)
        until(lambda: sorted(names(client)) == ["later", "left behind"], "the second is sent")
        until(lambda: journals(left) == [], "nothing waits")
        assert watching.poll() is None
