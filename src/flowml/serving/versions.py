"""One version that answers requests, by MLflow's own scoring application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from flowml.errors import ServingError
from flowml.serving import environments
from flowml.serving.asgi import App, Message, Receive, Scope, Send
from flowml.serving.aside import aside
from flowml.serving.files import Fetched
from flowml.serving.own_process import OwnProcess
from flowml.serving.threads import Threads, predicting_in, use_here
from flowml.store.models.flavors import mlflow_muted

_PICKLES = {".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill", ".pt", ".pth", ".bin"}
_REMEDY = "If you trust whoever made it, serve it with --allow-pickle."
_LOAD = 600.0  # seconds that a version may take to be loaded
_CHECK = 120.0  # seconds that a version may take for its own example
_LONGEST = 400  # characters of its answer in a message


class Served:
    """A version that answers requests.

    Args:
        fetched: Which, and its files.
        app: What answers.
        end: Ends what was started for it.

    Attributes:
        fetched: Which, and its files.
        running: How many requests it answers now.
    """

    def __init__(self, fetched: Fetched, app: App, end: Callable[[], Awaitable[None]] | None = None) -> None:
        self.fetched = fetched
        self.running = 0
        self._threads = Threads(f"flowml-version-{fetched.version}")
        self._app: App | None = app
        self._end = end
        self._is_retired = False
        names = {"x-model-name": fetched.model, "x-model-version": fetched.version, "x-model-id": fetched.model_id}
        self._headers = [(key.encode(), value.encode()) for key, value in names.items()]

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; the answer says which version it is from.

        MLflow's application answers 504 where a prediction takes too long, but waits for the prediction all the same,
        which may be for ever. Here nobody does.
        """
        status, is_over = 0, False

        async def named(message: Message) -> None:
            nonlocal status, is_over
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)
            ends = message["type"] == "http.response.body" and not message.get("more_body")
            if ends and status == HTTPStatus.GATEWAY_TIMEOUT:
                is_over = True
                answering.cancel()

        assert self._app is not None  # noqa: S101 - nobody is given a version whose last request has ended
        self.running += 1
        try:
            with predicting_in(self._threads):
                answering = asyncio.ensure_future(self._app(scope, receive, named))
            await answering
        except asyncio.CancelledError:
            if not is_over:
                raise
        finally:
            self.running -= 1
            await self._end_if_over()

    async def retire(self) -> None:
        """Take no more requests; the version is dropped when its last one has ended."""
        self._is_retired = True
        await self._end_if_over()

    async def _end_if_over(self) -> None:
        if self._is_retired and not self.running:
            self._app = None
            self._threads.close()
            if self._end:
                end, self._end = self._end, None
                await end()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may take.

    Attributes:
        body: Bytes of a request.
        seconds: How long an answer may take.
    """

    body: int = 100_000_000
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Loading:
    """How versions are loaded.

    Attributes:
        limits: What a request may take.
        own_environment: Whether a version that asks for other packages than those here gets a process that has them.
        pickle: Whether a version may run code of its own when it is loaded.
    """

    limits: Limits = field(default_factory=Limits)
    own_environment: bool = True
    pickle: bool = False


async def start(fetched: Fetched, loading: Loading) -> Served:
    """Let a version answer, and check that it answers its own example.

    Args:
        fetched: The version.
        loading: How it is loaded.

    Raises:
        ServingError: If it brings a pickle, does not answer its own example, or its packages cannot be had.
        Exception: Whatever MLflow or the model's library raises when it is loaded.
    """
    use_here()
    if not loading.pickle:
        await aside(check_trusted, fetched.folder, str(fetched))
    differs = await aside(environments.misfits, fetched.folder) if loading.own_environment else []
    if differs:
        python = await aside(environments.make, fetched.folder)
        process = OwnProcess(python, fetched.folder, loading.limits.seconds)
        await process.start()
        served = Served(fetched, process, process.end)
    else:
        try:
            app = await asyncio.wait_for(aside(_in_this_process, fetched), _LOAD)
        except (TimeoutError, asyncio.TimeoutError):
            msg = f"{fetched} is not loaded after {_LOAD:g} s."
            raise ServingError(msg) from None
        served = Served(fetched, app)
    try:
        await _check(served)
    except BaseException:
        await served.retire()
        raise
    return served


def _in_this_process(fetched: Fetched) -> App:
    from mlflow.pyfunc import load_model, scoring_server

    with mlflow_muted():
        model = load_model(str(fetched.folder))
    return scoring_server.init(model)  # type: ignore[no-any-return]


async def _check(served: Served) -> None:
    """Ask a version what its own example asks."""
    import httpx
    from mlflow.models import Model

    folder = str(served.fetched.folder)
    example = await aside(lambda: Model.load(folder).get_serving_input(folder))
    transport = httpx.ASGITransport(app=served.answer)
    async with httpx.AsyncClient(transport=transport, base_url="http://model", timeout=_CHECK) as client:
        if example is None:  # it was logged without
            answer = await client.get("/ping")
        else:
            answer = await client.post("/invocations", content=example, headers={"content-type": "application/json"})
    if answer.status_code != httpx.codes.OK:
        asked = "its own input example" if example else "whether it is well"
        said = " ".join(answer.text.split())[:_LONGEST]
        msg = f"{served.fetched} does not answer {asked}: {said}"
        raise ServingError(msg)


def check_trusted(folder: Path, named: str) -> None:
    """Refuse a version whose files are not data alone: one that runs code of its own when it is loaded.

    Args:
        folder: Its files.
        named: Which it is, for people.

    Raises:
        ServingError: If it is such a one, or has no `predict`.
    """
    from mlflow.models import Model

    flavors = Model.load(str(folder)).flavors
    pyfunc = flavors.get("python_function", {})
    loader = str(pyfunc.get("loader_module", ""))
    if not pyfunc:
        msg = (
            f"{named} has no `predict`: it was saved without MLflow's flavor python_function. Log it with one that has."
        )
        raise ServingError(msg)
    if pyfunc.get("code") or not loader.startswith("mlflow.") or loader == "mlflow.pyfunc.model":
        msg = f"{named} brings code of its own ({loader}), which runs when it is loaded. {_REMEDY}"
        raise ServingError(msg)
    for file in sorted(folder.rglob("*")):
        if file.suffix in _PICKLES:
            msg = f"{named} is saved by pickle ({file.name}), which runs whatever the file says. {_REMEDY}"
            raise ServingError(msg)
