"""Files that appear or change, as ``flowml watch-files`` tells of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.ends.processes import child, until
from tests.events.conftest import Heard

from flowml import OnFile

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WATCH = ["-m", "flowml.cli.app", "watch-files", "--every", "1s"]


def test_a_new_or_changed_file_is_told_once(
    project: Path, environment: Mapping[str, str], heard: Heard, automation: Callable[..., None]
) -> None:
    """Not what was there at first; what comes while nobody watches is told at the next start."""
    data, log = project / "data", project / "watch.log"
    data.mkdir()
    (data / "old.csv").write_text("a")
    automation(OnFile("data/*.csv"))
    with child(*WATCH, log=log, environment=environment):
        until(lambda: "files there already: 1." in log.read_text(), "it watches")
        (data / "other.txt").write_text("a")
        (data / "new.csv").write_text("a")
        (appeared,) = heard("flowml.file.changed")
        assert (appeared.payload["path"], appeared.payload["change"]) == (str(data / "new.csv"), "appeared")
        (data / "new.csv").write_text("ab")
        *_, changed = heard("flowml.file.changed", 2)
        assert (changed.payload["path"], changed.payload["change"]) == (str(data / "new.csv"), "changed")
        until(lambda: log.read_text().count("Told: ") == 2, "it has noted both")
    (data / "meanwhile.csv").write_text("a")
    with child(*WATCH, log=log, environment=environment):
        *_, third = heard("flowml.file.changed", 3)
    assert third.payload["path"] == str(data / "meanwhile.csv")
    assert len(heard("flowml.file.changed", 3)) == 3
