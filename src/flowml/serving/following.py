"""Keeps what answers on the version that an alias names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from flowml.errors import ServingError
from flowml.events import vocabulary
from flowml.events.emitting import emit
from flowml.secrets import mask
from flowml.serving.aside import aside
from flowml.serving.files import Fetched, Files, key_of
from flowml.store.registered import NoSuchVersionError, find

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_logger = logging.getLogger(__name__)

_AGAIN = 30.0  # seconds until a version that failed is tried again: its files, or a package index, may be there then
_LONGEST = 500  # characters of why a version is not served


@dataclass(slots=True)
class _Failed:
    key: tuple[str, int]
    until: float


class Ready(Protocol):
    """A version that could answer."""

    @property
    def fetched(self) -> Fetched:
        """Which, and its files."""


Version = TypeVar("Version", bound=Ready)


class Place(Protocol[Version]):
    """Where a version answers: a slot of this process, or replicas on a cluster."""

    @property
    def current(self) -> Version | None:
        """The version that answers."""

    async def use(self, served: Version, /) -> None:
        """Let another one answer."""


class Follower(Generic[Version]):
    """Keeps a place on the version that an alias names.

    Args:
        files: The versions of the model, and what is served of them.
        start: Makes a version ready to answer; a fault in it keeps the version from being used.
        say: Takes a line for whoever runs the server, and tells whether it was said here, and not by another worker.
        every: Seconds between two looks.
    """

    def __init__(
        self,
        files: Files,
        start: Callable[[Fetched], Awaitable[Version]],
        *,
        say: Callable[[str], bool],
        every: float,
    ) -> None:
        self._files, self._ref = files, files.ref
        self._start, self._say, self._every = start, say, every
        self._failed: _Failed | None = None
        self._problem = ""  # what was said last, so that it is said once
        self._moved = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def begin_beside(self, place: Place[Version]) -> None:
        """Follow the alias of a version that is tried beside another, which does not wait for it."""
        self._tasks = [asyncio.create_task(self._follow(place)), asyncio.create_task(self._listen())]

    async def begin(self, place: Place[Version]) -> None:
        """Serve a first version, and follow the alias from then on.

        Where MLflow cannot be asked, or has no such version any more, it is the one that was served here last.

        Raises:
            Exception: Whatever keeps the first one from being served.
        """
        try:
            found = await self._find()
        except Exception as error:
            if (last := self._files.last()) is None:
                raise
            self._say_once(f"{shortly(error)}. Serving {last}, which was served here before.")
            await place.use(await self._start(last))
        else:
            await self._serve(place, found)
        if self._ref.alias is not None:
            await self.begin_beside(place)

    async def end(self) -> None:
        """Follow no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, place: Place[Version]) -> None:
        while True:
            with suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._moved.wait(), self._every)
            self._moved.clear()
            try:
                await self._look(place)
            except Exception as error:
                _logger.debug("flowml: the alias could not be followed", exc_info=True)
                self._say_once(f"{self._ref} could not be followed: {shortly(error)}. It is tried again.")

    async def _look(self, place: Place[Version]) -> None:
        served = place.current.fetched if place.current else None
        goes_on = f"Version {served.version} goes on." if served else ""
        try:
            found = await self._find()
        except NoSuchVersionError as error:
            self._say_once(f"{error} {goes_on}")
            return
        except Exception as error:  # noqa: BLE001 - MLflow is away, or refuses
            self._say_once(f"MLflow cannot be asked which version {self._ref} is: {shortly(error)}. {goes_on}")
            return
        key, now = key_of(found), asyncio.get_running_loop().time()
        if served and served.key == key:
            self._failed, self._problem = None, ""
            return
        if self._failed and self._failed.key == key and now < self._failed.until:
            return
        try:
            await self._serve(place, found)
        except Exception as error:  # noqa: BLE001 - a version that does not load, or fails its example
            self._failed = _Failed(key, now + _AGAIN)
            why = shortly(error)
            if self._say_once(f"{self._ref} is version {found.version} now, which is not served: {why}. {goes_on}"):
                emit(vocabulary.served(self._ref.model, str(found.version), self._ref.alias or "", refused=why))

    async def _serve(self, place: Place[Version], found: ModelVersion) -> None:
        fetched = await aside(self._files.fetch, found)
        await place.use(await self._start(fetched))
        self._failed, self._problem = None, ""
        await aside(self._files.note_last, fetched)
        if self._say(f"{self._ref} is version {fetched.version}, which answers from now on."):
            emit(vocabulary.served(self._ref.model, fetched.version, self._ref.alias or ""))

    async def _find(self) -> ModelVersion:
        return await aside(lambda: find(self._files.connection.client, self._ref))

    async def _listen(self) -> None:
        """Look at once when Prefect tells of a promotion; without it the alias is looked at all the same."""
        from prefect.events.clients import get_events_subscriber
        from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
        from prefect.settings import PREFECT_API_URL

        if not PREFECT_API_URL.value():
            return
        wanted = EventFilter(
            event=EventNameFilter(name=[vocabulary.MODEL_PROMOTED]),
            resource=EventResourceFilter(id=[vocabulary.model(self._ref.model)]),
        )
        while True:
            try:
                async with get_events_subscriber(filter=wanted) as events:
                    async for _ in events:
                        self._moved.set()
            except Exception:
                _logger.debug("flowml: Prefect's events cannot be heard", exc_info=True)
            await asyncio.sleep(_AGAIN)

    def _say_once(self, line: str) -> bool:
        if line == self._problem:
            return False
        self._problem = line
        return self._say(line)


def shortly(error: Exception) -> str:
    """Return what an error says, on one line, masked, and without the full stop."""
    text = str(error) if isinstance(error, ServingError) else f"{type(error).__name__}: {error}"
    return mask(" ".join(text.split()))[:_LONGEST].rstrip(".")
