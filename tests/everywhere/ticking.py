"""Servers that hear a request only when the event loop of whoever asks has gone on: a loop that waits is found out."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_TICKS = 3  # so often the loop goes on before a server hears something
_PATIENCE = 5.0  # seconds after which it is taken not to go on any more
_PAUSE = 0.005


class Ticker:
    """Counts how often an event loop goes on, while it runs."""

    def __init__(self) -> None:
        self._count = 0
        self._is_running = False
        self._went_on = threading.Condition()

    async def tick(self) -> None:
        """Count, until cancelled."""
        self._is_running = True
        try:
            while True:
                await asyncio.sleep(_PAUSE)
                with self._went_on:
                    self._count += 1
                    self._went_on.notify_all()
        finally:
            with self._went_on:
                self._is_running = False
                self._went_on.notify_all()

    def went_on(self) -> bool:
        """Wait until the loop has gone on; False if it does not, though it runs."""
        with self._went_on:
            until = self._count + _TICKS
            return self._went_on.wait_for(lambda: not self._is_running or self._count >= until, _PATIENCE)


@contextmanager
def in_front_of(server: str, ticker: Ticker) -> Iterator[tuple[str, list[str]]]:
    """Hand on what a server is sent, each time when the loop has gone on.

    Yields:
        The address to ask instead, and the beginnings of what was sent while the loop did not go on.
    """
    held: list[str] = []
    target = urlsplit(server)

    def hand_on(sender: socket.socket, receiver: socket.socket, *, when_it_went_on: bool) -> None:
        with suppress(OSError):
            while data := sender.recv(65536):
                if when_it_went_on and not ticker.went_on():
                    held.append(data.partition(b"\r\n")[0].decode(errors="replace"))
                receiver.sendall(data)
        with suppress(OSError):
            receiver.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                asking, _ = listening.accept()
                asked = socket.create_connection((target.hostname, target.port))
                for pair in ((asking, asked, True), (asked, asking, False)):
                    way = {"when_it_went_on": pair[2]}
                    threading.Thread(target=hand_on, args=pair[:2], kwargs=way, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}{target.path}", held
        listening.shutdown(socket.SHUT_RDWR)
