"""Names that were changed: the old one works for one more release, and says what it is called now."""

from __future__ import annotations

import subprocess
import sys

import pytest

import flowml
from flowml import Track


def test_carry() -> None:
    """``flowml.carry`` does what ``flowml.with_context`` does."""
    with pytest.warns(DeprecationWarning, match="flowml.with_context"):
        assert flowml.carry(len)([1, 2]) == 2


def test_a_track_that_skips() -> None:
    """``Track(run="none")`` is ``Track(run="skip")``."""
    with pytest.warns(DeprecationWarning, match='run="skip"'):
        assert Track(run="none") == Track(run="skip")  # type: ignore[arg-type]


def test_watching_files() -> None:
    """``flowml watch`` takes what ``flowml watch-files`` takes."""
    command = [sys.executable, "-m", "flowml.cli.app", "watch", "--every", "never"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "every" in (done.stdout + done.stderr).lower()) == (2, True)
