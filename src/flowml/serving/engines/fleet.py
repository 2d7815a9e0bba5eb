"""What the command has deployed on Ray Serve: one application, whose replicas are told which versions answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from flowml.errors import ServingError
from flowml.patches import others
from flowml.serving.engines.counts import Count
from flowml.serving.engines.replica import Given, Named, Replica

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

    from flowml.serving.files import Fetched
    from flowml.serving.slots import Role

_logger = logging.getLogger(__name__)

_NAME = "flowml"  # of the one deployment of the application
_AT_ONCE = 100  # requests that a replica answers at once; more wait in Ray Serve
_TRIES = 3  # starts of a replica until a deployment has failed
_PREPARING = 1800.0  # seconds that a version may take to load: its packages may have to be installed
_TAKING = 120.0  # seconds until all replicas should answer by a version that each has prepared
_OFTEN = 0.1
_WHY = re.compile(r"ServingError: (.+)")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version that every replica has loaded beside the one that answers.

    Attributes:
        fetched: Which.
    """

    fetched: Fetched


class Fleet:
    """An application on Ray Serve.

    Args:
        name: Its name there.
        route: Its place at the cluster's address: ``/``, or ``/churn``.
        given: What each replica is given.
        count: How many replicas there are.
        say: Takes a line for whoever runs the command.
    """

    def __init__(self, name: str, route: str, given: Given, count: Count, *, say: Callable[[str], None]) -> None:
        self.name, self._route, self._given, self._count, self._say = name, route, given, count, say
        self._config: dict[Role, dict[str, Any]] = {}
        self._handle: DeploymentHandle[Any] | None = None
        self._is_own = False  # whether this process has deployed it
        self._one = asyncio.Lock()  # versions in two roles may move at once

    async def find(self) -> None:
        """Find the application where a command has left it that was killed: its replicas go on meanwhile."""
        from ray import serve

        status, _ = await asyncio.to_thread(self._status)
        if status == "RUNNING":
            self._handle = await asyncio.to_thread(serve.get_app_handle, self.name)
            self._config = next(iter(await self._ask_all(self._handle, "answering")))
            self._say(f"{self.name} is on Ray Serve already, and is followed from now on.")

    async def prepare(self, role: Role, fetched: Fetched) -> Prepared:
        """Have every replica load a version beside the one that answers, and ask it its own example.

        Before there are replicas nothing is prepared: they load their first version when they start.

        Raises:
            ServingError: If one of them cannot.
        """
        if self._handle is not None:
            told = asdict(Named.of(fetched))
            why = next(filter(None, await self._tell_all("prepare", role, told, seconds=_PREPARING)), "")
            if why:
                await self._tell_all("forget", role)
                raise ServingError(why)
        return Prepared(fetched)

    async def configure(self, role: Role, fetched: Fetched) -> None:
        """Let a version answer on all replicas, one after the other.

        Raises:
            ServingError: If it cannot; then the one before goes on.
        """
        async with self._one:
            before = self._config
            self._config = {**before, role: asdict(Named.of(fetched))}
            try:
                await self._deploy()
            except Exception:
                await self._go_back(before)
                raise

    async def end(self) -> None:
        """Delete the application; requests that have begun are ended first."""
        from ray import serve

        if self._is_own:
            self._is_own = False
            with suppress(asyncio.TimeoutError, TimeoutError):  # where Ray itself has ended
                await asyncio.wait_for(asyncio.to_thread(serve.delete, self.name), _TAKING / 4)

    async def _go_back(self, before: dict[Role, dict[str, Any]]) -> None:
        if before:
            self._config = before
            await asyncio.to_thread(self._run)
        else:
            await self.end()

    async def _deploy(self) -> None:
        """Deploy, and wait until all replicas answer by the versions of the configuration."""
        is_first = self._handle is None
        self._is_own = True
        handle = await asyncio.to_thread(self._run)
        began, said = time.monotonic(), ""
        while True:
            status, why = await asyncio.to_thread(self._status)
            if status == "DEPLOY_FAILED":
                raise ServingError(_reason(why))
            if status == "RUNNING" and await self._answer_all(handle):
                self._handle = handle
                return
            if why and why != said and time.monotonic() - began > _TAKING / 4:
                said = why  # such as: the cluster has no place for a replica
                self._say(f"Ray Serve has not started all replicas yet: {_reason(why)}")
            if not is_first and time.monotonic() - began > _TAKING:
                self._say(f"Not all replicas answer by {self._config} yet. Ray Serve goes on with it.")
                return
            await asyncio.sleep(_OFTEN)

    async def _answer_all(self, handle: DeploymentHandle[Any]) -> bool:
        try:
            return all(one == self._config for one in await self._ask_all(handle, "answering"))
        except Exception:  # a replica has ended: Ray Serve starts another
            _logger.debug("flowml: a replica could not be asked", exc_info=True)
            return False

    def _run(self) -> DeploymentHandle[Any]:
        from ray import serve

        many = {"min_replicas": self._count.least, "max_replicas": self._count.most}
        deployment: Any = serve.deployment(
            serve.ingress()(Replica),
            name=_NAME,
            max_ongoing_requests=_AT_ONCE,
            max_constructor_retry_count=_TRIES,
            user_config=self._config,
            **({"num_replicas": self._count.least} if len(set(many.values())) == 1 else {"autoscaling_config": many}),
        )
        # The same for all versions of the model, so that replicas are reconfigured; another for other options.
        given = json.dumps(asdict(self._given), sort_keys=True)
        others.RAY_VERSION.replace_on(deployment, hashlib.sha256(given.encode()).hexdigest()[:32])
        target = serve.RunTarget(target=deployment.bind(self._given), name=self.name, route_prefix=self._route)
        return serve.run_many([target], wait_for_applications_running=False)[0]

    def _status(self) -> tuple[str, str]:
        """Return the application's status, and what Ray Serve says of its replicas."""
        from ray import serve

        application = serve.status().applications.get(self.name)
        if application is None:
            return "", ""
        deployment = application.deployments.get(_NAME)
        return application.status.value, (deployment.message if deployment else "") or application.message

    async def _tell_all(self, method: str, *words: Any, seconds: float = _TAKING) -> list[Any]:
        assert self._handle is not None  # noqa: S101 - asked for when it is there
        return await self._ask_all(self._handle, method, *words, seconds=seconds)

    async def _ask_all(
        self, handle: DeploymentHandle[Any], method: str, *words: Any, seconds: float = _TAKING
    ) -> list[Any]:
        """Call a method of every replica.

        Raises:
            Exception: What Ray raises where one of them has ended, or there is none.
        """
        return await asyncio.to_thread(lambda: handle.broadcast(method, *words).results(timeout_s=seconds))


def _reason(message: str) -> str:
    """Return what a replica said in what Ray Serve tells of it, which holds a traceback."""
    told = _WHY.findall(message)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return str(told[-1] if told else " ".join(lines[:1] + lines[-1:] if len(lines) > 1 else lines)).rstrip(".")
