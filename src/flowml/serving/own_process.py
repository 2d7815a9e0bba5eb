"""A version in a process of its own, with the packages that it asks for."""

from __future__ import annotations

import asyncio
import logging
import socket
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flowml.errors import ServingError
from flowml.serving.asgi import Receive, Scope, Send, read, refuse
from flowml.stack.processes import environment_without

_logger = logging.getLogger(__name__)

# It takes the socket that it was given, so that those who ask while it starts anew wait instead of being refused; and
# it ends with the process that holds the other end of its input.
_PROGRAM = """
import os, socket, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
import uvicorn
from mlflow.pyfunc import load_model, scoring_server
app = scoring_server.init(load_model(sys.argv[1]))
listening = socket.socket(fileno=int(sys.argv[2]))
config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=int(sys.argv[3]))
uvicorn.Server(config).run(sockets=[listening])
"""
_START = 300.0  # seconds until it answers
_AGAIN = 1.0  # seconds before it is started again
_BACKLOG = 2048
_IDLE = 30.0  # seconds that an unused connection is kept
_CLOSES = 90  # seconds until the process would close one: long after, or a request may go into one that just closes
_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"content-length", b"host"}


class OwnProcess:
    """What answers by a process that it starts, and starts again when it ends.

    Args:
        python: The Python of the environment with the version's packages.
        folder: The version's files.
        seconds: How long an answer may take.
    """

    def __init__(self, python: Path, folder: Path, seconds: float) -> None:
        self._python, self._folder, self._seconds = python, folder, seconds
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._client: Any = None

    async def start(self) -> None:
        """Start the process, and wait until it answers.

        Raises:
            ServingError: If it ends, or does not answer in time.
        """
        import httpx

        port = self._socket.getsockname()[1]
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_IDLE)
        timeout = httpx.Timeout(self._seconds + 5)  # MLflow's own limit answers first
        self._client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=timeout, trust_env=False
        )
        self._process = await self._launch()
        ended = asyncio.ensure_future(self._process.wait())
        answers = asyncio.ensure_future(self._client.get("/ping", timeout=_START))
        await asyncio.wait({ended, answers}, timeout=_START, return_when=asyncio.FIRST_COMPLETED)
        if not (answers.done() and not answers.exception()):
            why = f"it does not answer after {_START:g} s"
            if ended.done():
                why = f"it ended with exit code {self._process.returncode}"
            elif answers.done():
                why = repr(answers.exception())
            for task in (ended, answers):
                task.cancel()
            await self.end()
            log = " ".join(self._log.read_text("utf-8", "replace").split())[-800:]
            msg = f"The process with its packages ({self._python}) does not answer: {why}. {log}".rstrip()
            raise ServingError(msg)
        ended.cancel()
        self._watch = asyncio.create_task(self._keep())

    @property
    def _log(self) -> Path:
        return self._folder.with_name(f"{self._folder.name}.log")

    async def _launch(self) -> Process:
        fd = self._socket.fileno()
        # Its packages are its own, and the token of who may ask is none of its business.
        environment = environment_without("FLOWML_", "PYTHONPATH")
        environment["MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT"] = str(max(1, round(self._seconds)))
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(str(self._python), "-c", _PROGRAM, str(self._folder), str(fd), str(_CLOSES)),
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=log,
                pass_fds=[fd],
                env=environment,
                cwd=self._folder,
            )

    async def _keep(self) -> None:
        while self._process is not None:
            code = await self._process.wait()
            _logger.warning("flowml: the process of %s has ended (%s), and is started again.", self._folder.name, code)
            await asyncio.sleep(_AGAIN)
            self._process = await self._launch()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, and its answer back."""
        import httpx

        try:
            body = await asyncio.wait_for(read(receive), self._seconds)
        except (TimeoutError, asyncio.TimeoutError):
            await refuse(send, "The request did not come in time (--timeout).", HTTPStatus.REQUEST_TIMEOUT)
            return
        if body is None:
            return
        kept = [(key, value) for key, value in scope["headers"] if key.lower() not in _HOP]
        path = scope["path"] + (f"?{scope['query_string'].decode()}" if scope.get("query_string") else "")
        try:
            answer = await self._client.request(scope["method"], path, content=body, headers=kept)
        except httpx.TransportError as error:
            await refuse(send, f"The version's process does not answer: {type(error).__name__}. It is started again.")
            return
        headers = [(key, value) for key, value in answer.headers.raw if key.lower() not in _HOP]
        headers.append((b"content-length", str(len(answer.content)).encode()))
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": answer.content})

    async def end(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if self._watch:
            self._watch.cancel()
        if process and process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except (TimeoutError, asyncio.TimeoutError):
                process.kill()
                await process.wait()
        await self._client.aclose()
        self._socket.close()
