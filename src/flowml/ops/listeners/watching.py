"""The watch over files as a program."""

from __future__ import annotations

import asyncio

from flowml import settings
from flowml.events.files import FileWatch
from flowml.ops.output import say
from flowml.ops.prefect_api import address
from flowml.secrets.uris import without_credentials


def run(every: float) -> None:
    """Look for files that deployments wait for, until Ctrl-C.

    Args:
        every: Seconds between two looks.

    Raises:
        OrchestrationError: If Prefect has no server.
    """
    api = without_credentials(address("There is no Prefect server to tell of files"))
    say(f"Watching for Prefect at {api}, every {every:g} s, until Ctrl-C.")
    try:
        asyncio.run(_watch(every))
    except KeyboardInterrupt:
        say("Stopped.")


async def _watch(every: float) -> None:
    watch, failed = FileWatch(settings.home_folder() / "watched.json", say), False
    while True:
        try:
            await watch.look()
        except Exception as error:  # noqa: BLE001 - of Prefect or the disk: what was not told is told later
            if not failed:
                say(f"Could not look: {type(error).__name__}: {error}. Trying again.")
            failed = True
        else:
            failed = False
        await asyncio.sleep(every)
