"""What is heard of Prefect's server, and deployments that stay for one test."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.context import SettingsContext
from prefect.events import Event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.settings import PREFECT_API_URL
from prefect.types._datetime import now
from tests.ends.processes import ROOT, until

from flowml.events import thresholds

Heard: TypeAlias = Callable[..., list[Event]]


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Let each test's flows read anew what deployments ask for."""
    thresholds.forget()


@pytest.fixture
def environment(client: MlflowClient, project: Path) -> Mapping[str, str]:
    """What a process needs to know to use the same servers."""
    return {
        **os.environ,
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "FLOWML_HOME": str(project / ".flowml"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
    }


@pytest.fixture
def heard(client: MlflowClient) -> Iterator[Heard]:
    """Hear flowml's events as the server passes them on; ask for those of a name, waiting for a number of them."""
    here, ready, done = SettingsContext.get(), threading.Event(), threading.Event()
    events: list[Event] = []
    began, wanted = now("UTC"), EventFilter(event=EventNameFilter(prefix=["flowml."]))

    async def hear() -> None:
        async with get_events_subscriber(wanted) as subscriber:
            ready.set()
            with suppress(asyncio.CancelledError):
                async for event in subscriber:
                    if event.occurred >= began:  # Prefect's client asks for the minute before, too
                        events.append(event)  # noqa: PERF401 - each is looked at when it comes

    async def hear_until_done() -> None:
        task = asyncio.ensure_future(hear())
        await asyncio.to_thread(done.wait)
        task.cancel()

    def listen() -> None:
        with here.model_copy():
            asyncio.run(hear_until_done())

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    if not ready.wait(30):
        done.set()  # else its thread is waited for when this process ends
        pytest.fail("nobody listens")

    def named(name: str, at_least: int = 1) -> list[Event]:
        def found() -> list[Event]:
            return [event for event in events if event.event == name]

        until(lambda: len(found()) >= at_least, f"{at_least} of {name}: {[event.event for event in events]}", 30)
        return found()

    yield named
    done.set()
    thread.join(10)


@pytest.fixture
def automation(client: MlflowClient) -> Iterator[Callable[[Any], None]]:
    """Make an automation of a trigger, as Prefect does when a deployment is applied; it starts nothing."""
    from uuid import uuid4

    from prefect.events.actions import DoNothing

    made: list[Any] = []

    def make(trigger: Any, deployment_id: Any = None) -> None:
        asked = trigger.automation_trigger()
        asked.name = f"test {uuid4()}"
        asked.set_deployment_id(deployment_id or uuid4())
        automation = asked.as_automation()
        automation.actions = [DoNothing()]
        with get_client(sync_client=True) as prefect:
            made.append(prefect.create_automation(automation))

    yield make
    with get_client(sync_client=True) as prefect:
        for automation_id in made:
            prefect.delete_automation(automation_id)
