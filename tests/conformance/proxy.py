"""A proxy before an HTTP server that fails as it is told: at a request, at a share of them, or until it is healed."""

from __future__ import annotations

import math
import random
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from typing_extensions import Self

from tests.conformance.messages import END, closes, made_answer, read_message

Kind = Literal["refuse", "hang", "slow", "cut request", "cut answer", "status", "lose answer"]
_LOOK = 0.1  # seconds between two looks whether something ended
_RESET = struct.pack("ii", 1, 0)  # a close that the other side sees as "connection reset"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a request.

    Attributes:
        kind: `refuse` resets its connection, and accepts no other one for `seconds`; `hang` never answers, but hands
            the request on when the proxy is healed and the client waits still, and closes after `seconds`, if there
            are any; `slow` hands it on after `seconds`; `cut request` hands half of it on and closes; `cut answer`
            hands all of it on, and half of the answer's body back; `status` answers by itself; `lose answer` hands
            all of it on, waits for the answer, and closes.
        seconds: See above.
        status: The HTTP status.
        retry_after: The seconds in the header ``Retry-After``; None: no such header.
    """

    kind: Kind
    seconds: float = 0.0
    status: int = 503
    retry_after: float | None = None


class Request(NamedTuple):
    """A request that came in."""

    method: str
    path: str


class Proxy:
    """Hands requests on to a server on loopback, in threads of its own; a context manager.

    Requests are counted from 1, in the order in which they came in, over all connections.

    Args:
        target: The address of the server.
    """

    def __init__(self, target: str) -> None:
        self._target = (str(urlsplit(target).hostname), int(urlsplit(target).port or 80))
        self._lock = threading.Lock()
        self._at: dict[int, Fault] = {}
        self._acts: dict[int, Callable[[], object]] = {}
        self._forever: tuple[int, Fault] | None = None  # from which request on
        self._share: tuple[float, Sequence[Fault], random.Random] | None = None
        self._healed = threading.Event()
        self._closed = threading.Event()
        self._is_down = False
        self._up_again: threading.Timer | None = None
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.requests: list[Request] = []
        self.failed: list[tuple[int, Fault]] = []
        self._held = self._bound(0)  # keeps the port while nobody listens
        self._port = self._held.getsockname()[1]
        self._listener: socket.socket | None = None
        self._listen()
        self._start(self._accept)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fail_at(self, number: int, fault: Fault) -> None:
        """Let one request fail."""
        self._healed.clear()
        self._at[number] = fault

    def fail_from(self, number: int, fault: Fault) -> None:
        """Let all requests from one on fail, until `heal`."""
        with self._lock:
            self._healed.clear()
            self._forever = number, fault
        if fault.kind == "refuse" and len(self.requests) + 1 >= number:
            self._go_down()

    def fail_share(self, share: float, faults: Sequence[Fault], seed: int) -> None:
        """Let a random share of the requests fail, each by one of some faults, until `heal`."""
        self._share = share, faults, random.Random(seed)

    def do_at(self, number: int, act: Callable[[], object]) -> None:
        """Do something when a request has come in, before it is handed on."""
        self._acts[number] = act

    def heal(self) -> None:
        """Hand all on from now on."""
        with self._lock:
            self._at.clear()
            self._forever = self._share = None
        self._healed.set()
        self._come_up()

    def close(self) -> None:
        """Close all connections, and wait for all threads."""
        self._closed.set()
        if self._up_again:
            self._up_again.cancel()
        with self._lock:
            self._is_down = True
            self._stop_listening()
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)
        self._held.close()
        assert not [thread for thread in self._threads if thread.is_alive()]

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="proxy", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _bound(self, port: int) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        return made

    def _listen(self) -> None:
        self._listener = self._bound(self._port)
        self._listener.listen(128)

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # at once, also where the other thread looks at it
            listener.close()

    def _go_down(self, seconds: float | None = None) -> None:
        """Accept no connection, and reset those that are open; for some seconds, or until `heal`."""
        with self._lock:
            if self._closed.is_set() or self._is_down or seconds == 0:
                return
            self._is_down = True
            self._stop_listening()
            for connection in self._connections:
                _reset(connection)
            if seconds is not None:
                self._up_again = threading.Timer(seconds, self._come_up)
                self._up_again.daemon = True
                self._up_again.start()

    def _come_up(self) -> None:
        with self._lock:
            while self._is_down and not self._closed.is_set():
                with suppress(OSError):  # the one before is about to be closed
                    self._listen()
                    self._is_down = False

    def _accept(self) -> None:
        while not self._closed.is_set():
            listener = self._listener
            if listener is None:
                self._closed.wait(_LOOK / 2)
                continue
            with suppress(OSError, ValueError):  # closed at this moment
                if _is_readable(listener, _LOOK):
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    with self._lock:
                        self._connections.add(connection)
                    self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        with ExitStack() as stack:
            stack.enter_context(suppress(OSError, ValueError))
            stack.callback(self._forget, connection)
            stream = stack.enter_context(connection.makefile("rb"))
            while message := read_message(stream):
                if not self._exchange(connection, message) or closes(message):
                    return

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)
            connection.close()

    def _exchange(self, client: socket.socket, message: bytes) -> bool:
        """Serve one request; tell whether the connection is still good."""
        method, path = message.split(b" ", 2)[:2]
        number, fault = self._count(Request(method.decode(), path.decode()))
        if number in self._acts:
            self._acts.pop(number)()
        if fault and fault.kind == "status":
            client.sendall(made_answer(fault.status, fault.retry_after))
            return True
        answer = self._handed_on(message, method.decode()) if self._lets_through(client, message, fault) else None
        if answer is None or (fault and fault.kind == "lose answer"):
            _reset(client)
            return False
        if fault and fault.kind == "cut answer":
            body = len(answer.partition(END + END)[2])
            client.sendall(answer[: -(body + 1) // 2 or -1])
            return False
        client.sendall(answer)
        return not closes(answer)

    def _lets_through(self, client: socket.socket, message: bytes, fault: Fault | None) -> bool:
        """Do what a fault does before a request is handed on; tell whether it is."""
        match fault.kind if fault else None:
            case "refuse":
                lasts = self._forever is not None and fault == self._forever[1]
                self._go_down(None if lasts else fault.seconds)
                return False
            case "hang":
                return self._wait_while_it_hangs(client, fault.seconds)
            case "slow":
                self._closed.wait(fault.seconds)
            case "cut request":
                with socket.create_connection(self._target) as server:
                    server.sendall(message[: len(message) // 2])
                return False
        return True

    def _count(self, request: Request) -> tuple[int, Fault | None]:
        with self._lock:
            self.requests.append(request)
            number = len(self.requests)
            fault = self._at.get(number)
            if fault is None and self._forever and number >= self._forever[0]:
                fault = self._forever[1]
            if fault is None and self._share and self._share[2].random() < self._share[0]:
                fault = self._share[2].choice(self._share[1])
            if fault:
                self.failed.append((number, fault))
            return number, fault

    def _wait_while_it_hangs(self, client: socket.socket, seconds: float) -> bool:
        """Wait until the proxy is healed; False if it was closed, the client is gone, or it took too long."""
        is_healed, until = False, time.monotonic() + (seconds or math.inf)
        while not self._closed.is_set() and time.monotonic() < until:
            if _is_readable(client, 0) and not client.recv(1, socket.MSG_PEEK):
                return False
            if is_healed:
                return True
            is_healed = self._healed.wait(_LOOK)
        return False

    def _handed_on(self, message: bytes, method: str) -> bytes | None:
        with socket.create_connection(self._target) as server, server.makefile("rb") as stream:
            server.sendall(message)
            return read_message(stream, method)


def _is_readable(one: socket.socket, seconds: float) -> bool:
    """Wait for something to read; `select.select` takes no descriptor above 1023, and a long session has many."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ)
        return bool(selector.select(seconds))


def _reset(connection: socket.socket) -> None:
    """Let the thread that serves a connection close it, and the other side see a reset."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RD)
