"""One replica on Ray Serve: flowml's own serving application, whose versions Ray Serve's `user_config` names."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowml import settings
from flowml.errors import ServingError
from flowml.serving import server, versions
from flowml.serving.application import Application, Lanes
from flowml.serving.asgi import App, Receive, Scope, Send
from flowml.serving.aside import aside
from flowml.serving.files import Fetched, Files
from flowml.serving.following import shortly
from flowml.serving.monitoring.recording import Recorder
from flowml.serving.monitoring.reporting import Report
from flowml.serving.slots import Role, Slot, canary_of
from flowml.store.backend import connection

if TYPE_CHECKING:
    from flowml.serving.versions import Served


@dataclass(frozen=True, slots=True)
class Named:
    """A version, as Ray Serve's configuration names it.

    Attributes:
        model: The registered model's name.
        version: The version's number.
        created: When it was made, in milliseconds since 1970: a number is given again after a deletion.
    """

    model: str
    version: str
    created: int

    @classmethod
    def of(cls, fetched: Fetched) -> Named:
        """Name a version."""
        return cls(fetched.model, *fetched.key)


@dataclass(frozen=True, slots=True)
class Given:
    """What a replica is given when it starts.

    Attributes:
        options: How the model is served, as ``asdict`` writes it.
        uri: The tracking URI.
        registry_uri: The model registry's, if it is another.
        home: flowml's folder, where a node has the place for it.
    """

    options: dict[str, Any] = field(repr=False)  # the token is one of them
    uri: str
    registry_uri: str | None
    home: str


class Replica:
    """Answers requests in a process of Ray's, by the versions that it is configured for.

    Ray Serve makes it, calls `reconfigure` when it starts and whenever its configuration changes, and hands requests to
    the application that it builds.

    Args:
        given: What it needs to know.
    """

    def __init__(self, given: Given) -> None:
        _settle(given)
        options = server.options_of(given.options)
        server.prepare(options)
        here = connection.connect(may_be_away=True)
        self._loading = options.loading
        refs = server.served_refs(options)
        self._slots = {role: Slot() for role in refs}
        self._files = {role: Files(here, ref) for role, ref in refs.items()}
        self._prepared: dict[Role, Served] = {}
        canary = canary_of(options.canary, options.canary_by) if options.canary else None
        self._application = Application(
            Lanes(self._slots["main"], (canary, self._slots["canary"]) if canary else None, self._slots.get("shadow")),
            options.loading.limits,
            token=options.token,
            begin=_nothing,
            end=_nothing,
            recorder=Recorder(self._files["main"].folder, options.sample, is_numbering=False),  # Ray Serve does it
            report=Report(here, options.report, self._files["main"].folder) if options.report else None,
        )

    def __serve_build_asgi_app__(self) -> App:
        """Return what Ray Serve hands requests to."""
        application = self._application

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if root := scope.get("root_path"):  # the application's place at the cluster's address
                scope = {**scope, "path": scope["path"].removeprefix(root), "root_path": ""}
            await application(scope, receive, send)

        return answer

    async def reconfigure(self, config: dict[Role, dict[str, Any]]) -> None:
        """Let the versions answer that the configuration names.

        They were prepared, unless the replica starts; so a fault here ends a replica that has not answered yet, and
        Ray Serve starts another.

        Raises:
            ServingError: If one of them cannot.
        """
        for role, told in config.items():
            named = Named(**told)
            if _is(self._slots[role].current, named):
                continue
            served = self._prepared.pop(role, None)
            if not _is(served, named):
                await _drop(served)
                served = await self._started(role, named)
            assert served is not None  # noqa: S101 - it was prepared, or just started
            await self._slots[role].use(served)

    async def prepare(self, role: Role, told: dict[str, Any]) -> str:
        """Load a version beside the one that answers, and let it answer its own example.

        Returns:
            Why it cannot answer; empty if it can.
        """
        named = Named(**told)
        if _is(self._slots[role].current, named) or _is(self._prepared.get(role), named):
            return ""
        await self.forget(role)
        try:
            self._prepared[role] = await self._started(role, named)
        except ServingError as error:
            return str(error)
        return ""

    async def forget(self, role: Role) -> None:
        """Drop what was prepared: another replica could not."""
        await _drop(self._prepared.pop(role, None))

    async def answering(self) -> dict[Role, dict[str, Any]]:
        """Tell which versions answer."""
        serving = {role: slot.current for role, slot in self._slots.items()}
        return {role: asdict(Named.of(served.fetched)) for role, served in serving.items() if served}

    async def _started(self, role: Role, named: Named) -> Served:
        from mlflow.entities.model_registry import ModelVersion

        try:
            version = ModelVersion(named.model, named.version, named.created)
            return await versions.start(await aside(self._files[role].fetch, version), self._loading)
        except Exception as error:
            raise ServingError(shortly(error)) from error


def _settle(given: Given) -> None:
    """Tell this process, which is this replica's alone, what flowml goes by."""
    told = {"FLOWML_TRACKING_URI": given.uri, "FLOWML_REGISTRY_URI": given.registry_uri or ""}
    told["FLOWML_HOME"] = str(_home(Path(given.home)))
    for name, value in told.items():
        os.environ.pop(name, None)
        if value:
            os.environ[name] = value
    settings.reload()


def _home(wished: Path) -> Path:
    """Return a folder for versions and what is kept of requests: another machine may not have the project's."""
    with suppress(OSError):
        if wished.parent.is_dir():
            wished.mkdir(exist_ok=True)
        if os.access(wished, os.W_OK):
            return wished
    return Path.home() / ".flowml"


def _is(served: Served | None, named: Named) -> bool:
    return served is not None and Named.of(served.fetched) == named


async def _drop(served: Served | None) -> None:
    if served:
        await served.retire()


async def _nothing() -> None:
    """Begin, or end, nothing: Ray Serve's configuration says what answers."""
