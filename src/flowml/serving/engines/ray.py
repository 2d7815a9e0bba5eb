"""The engine `ray`: a registered model answers from replicas on Ray Serve, which follow its alias."""

from __future__ import annotations

import asyncio
import hashlib
import re
import signal
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from flowml import settings
from flowml.serving import server
from flowml.serving.engines import cluster
from flowml.serving.engines.counts import Count
from flowml.serving.engines.fleet import Fleet, Prepared
from flowml.serving.engines.replica import Given
from flowml.serving.files import Fetched, Files
from flowml.serving.following import Follower
from flowml.serving.said import Said, say
from flowml.store.backend import connection

if TYPE_CHECKING:
    from flowml.serving.server import Options
    from flowml.serving.slots import Role
    from flowml.store.backend.connection import Connection
    from flowml.store.registered import ModelRef


class Everywhere:
    """A place on every replica: what has one role there.

    Args:
        fleet: The replicas.
        role: Which role.

    Attributes:
        current: The version that all replicas were told to answer by.
    """

    def __init__(self, fleet: Fleet, role: Role) -> None:
        self._fleet, self._role = fleet, role
        self.current: Prepared | None = None

    async def start(self, fetched: Fetched) -> Prepared:
        """Have a version loaded on all of them."""
        return await self._fleet.prepare(self._role, fetched)

    async def use(self, served: Prepared, /) -> None:
        """Let it answer on all of them."""
        await self._fleet.configure(self._role, served.fetched)
        self.current = served


def serve(options: Options, count: Count) -> None:
    """Serve a registered model on Ray Serve until Ctrl-C.

    Args:
        options: How.
        count: How many replicas answer.

    Raises:
        NoSuchVersionError: If there is no such model, version or alias.
        ServingError: If its first version cannot answer, or the cluster cannot be reached.
        SettingsError: If an option cannot be.
        TrackingError: If MLflow cannot be reached, and no version was served here before.
    """
    cluster.check_installed()
    server.check(options)
    server.prepare(options)
    for ref in server.served_refs(options).values():
        server.check_version(ref)
    here = connection.connect(may_be_away=True)
    with cluster.joined(options, count.most) as found:
        cluster.check_store(here.uri)
        with suppress(KeyboardInterrupt):
            asyncio.run(_serve(options, count, here, found))


async def _serve(options: Options, count: Count, here: Connection, found: cluster.Cluster) -> None:
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # on Windows, where Ctrl-C ends it all the same
            asyncio.get_running_loop().add_signal_handler(number, over.set)
    name = _name(options.ref)
    route = "/" if found.is_own else f"/{name}"  # others may answer at the cluster's address, too
    given = Given(asdict(options), here.uri, here.registry_uri, str(settings.home_folder()))
    fleet = Fleet(name, route, given, count, say=say)
    where = f"{found.url or 'the address of Ray Serve, at '}{route.rstrip('/')}/invocations"
    say(f"{options.ref} is going to answer at {where}, on Ray Serve, until Ctrl-C.")
    following = asyncio.create_task(_follow(options, fleet, here))
    ended = asyncio.create_task(over.wait())
    try:
        await asyncio.wait({following, ended}, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            followers = await following
            await ended
            await asyncio.gather(*(each.end() for each in followers))
    finally:
        following.cancel()
        await fleet.end()


def _name(ref: ModelRef) -> str:
    """Return the name of the application, which no other model or alias has, and an address may hold."""
    text = str(ref).replace("/", "-v")
    name = re.sub(r"[^A-Za-z0-9_.@-]+", "-", text)
    return name if name == text else f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


async def _follow(options: Options, fleet: Fleet, here: Connection) -> list[Follower[Prepared]]:
    followers = list[Follower[Prepared]]()
    await fleet.find()
    for role, ref in server.served_refs(options).items():
        place = Everywhere(fleet, role)
        follower = Follower(Files(here, ref), place.start, say=Said(None, str(ref)), every=options.every)
        await (follower.begin if role == "main" else follower.begin_beside)(place)
        followers.append(follower)
    return followers
