"""Without any server: the temporary one of Prefect's own."""

from __future__ import annotations

import pytest

from tests.stack.conftest import Project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

FLOW = """
import asyncio, sys
from flowml import flow
from prefect.settings import get_current_settings

@flow
def ordinary() -> tuple[int, bool]:
    server = get_current_settings().server
    return server.ephemeral.startup_timeout_seconds, server.analytics_enabled

@flow
async def waiting() -> int:
    return 1

print(asyncio.run(waiting()) if sys.argv[1:] else ordinary())
"""


@pytest.mark.slow
def test_it_is_given_time_and_is_quiet(place: Project) -> None:
    """Nobody has said how long to wait, or asked for telemetry: it is longer than Prefect's 20 s, and there is none."""
    done = place.python("-c", FLOW)
    assert (done.returncode, done.stdout.strip()) == (0, "(120, False)"), done.stderr
    unasked = [line for line in done.stderr.splitlines() if "INFO" not in line and not line.startswith("See https:")]
    assert unasked == []


@pytest.mark.parametrize(
    "words", [pytest.param([], id="sync"), pytest.param(["async"], id="async", marks=pytest.mark.slow)]
)
def test_one_line_says_what_to_do(place: Project, words: list[str]) -> None:
    """What the user has set stays; where it is not enough, the line is beside Prefect's own error."""
    done = place.python("-c", FLOW, *words, PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="1")
    assert done.returncode == 1
    assert "RuntimeError: Timed out while attempting to connect" in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "flowml: " in line]
    assert "did not come up in 1 s. Start one that stays with `flowml up`" in line
