"""Which ports are chosen."""

from __future__ import annotations

import subprocess
import sys

from flowml.stack import ports

KEEPS = """
import sys
from flowml.stack import ports

kept = ports.keep_next("127.0.0.1", 23000)
print(kept.number, flush=True)
sys.stdin.read()
"""


def test_two_that_choose_at_the_same_moment_choose_differently() -> None:
    """A port that another process has chosen is passed over while its server has yet to listen there, and no longer."""
    other = [sys.executable, "-c", KEEPS]
    with subprocess.Popen(other, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        theirs = int(process.stdout.readline())
        ours = ports.keep_next("127.0.0.1", 23000)
        assert ours
        assert ours.number > theirs
        assert ports.keep("127.0.0.1", theirs) is None
        ours.give_back()
        process.communicate()
    again = ports.keep("127.0.0.1", theirs)
    assert again
    again.give_back()
