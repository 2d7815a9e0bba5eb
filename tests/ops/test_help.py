"""``flowml --help``, and words that cannot be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.ops.conftest import Said

from flowml.cli import app

Flowml = Callable[..., Said]


def test_the_commands_are_in_groups(flowml: Flowml) -> None:
    """Each command is under the title of its group; none is left over."""
    said = flowml("--help").out
    titles = [line.strip("╭─╮ ") for line in said.splitlines() if line.startswith("╭")]
    assert titles == [*app.GROUPS, "Options"]
    assert said.index("Runs ─") < said.index("compare ") < said.index("Servers on") < said.index("│ up ")


@pytest.mark.parametrize("command", [name for name in app.app if not name.startswith("-")])
def test_what_is_off_has_no_option_to_be_off(flowml: Flowml, command: str) -> None:
    """There is ``--json``, and no ``--no-json``."""
    assert "--no-" not in flowml(command, "--help").out


@pytest.mark.parametrize(
    "words", [["runs", "--bogus"], ["show"], ["nonsense"], ["reap", "--grace", "soon"]], ids=" ".join
)
def test_words_that_cannot_be(flowml: Flowml, words: list[str]) -> None:
    """They are answered in one line, which begins as all others do."""
    said = flowml(*words)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("flowml: ")
