"""Events wait here, and one thread sends them: a catalogue that is down or slow delays nobody, and is told of once."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flowml import faults, settings
from flowml.lineage.event import made
from flowml.lineage.told import Told
from flowml.locks import RLock
from flowml.secrets import mask
from flowml.store.sending import timing

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient

_MOST = 10_000  # events that wait
_PATIENCE = 2.0  # seconds without an event taken, after which the end of an outermost call waits no longer
_LONGEST = 10.0  # seconds that it waits in all
_PAUSES = (1.0, 2.0, 5.0, 15.0, 30.0)  # seconds until an event is tried again
_QUIET = 1.0  # seconds without an event, after which the thread ends
_TIMEOUT = 5.0
_REFUSED = range(400, 500)
_MAY_PASS = {401, 403, 404, 408, 425, 429}  # what another login or a catalogue that starts makes good

_logger = logging.getLogger("prefect.flowml")


class _Sender:
    """Sends events to one catalogue, in order.

    Args:
        client: What sends an event.
    """

    def __init__(self, client: OpenLineageClient) -> None:
        self._client = client
        self.begin()

    def begin(self) -> None:
        """Begin with nothing to send: also in a forked child, whose parent sends what is its own."""
        self._waiting: deque[Told] = deque()
        self._lock = RLock()  # `with` takes it, not the condition: see `Publisher`
        self._changed = threading.Condition(self._lock)
        self._is_working = self._is_idle = self._is_slow = self._has_told = False
        self._failures = self._taken = self._awaited = 0
        self._added = 0.0

    def drop(self) -> None:
        """Send no more: another catalogue is named."""
        with self._lock:
            self._waiting.clear()
            self._has_told = True
            self._changed.notify_all()

    def add(self, told: Told) -> None:
        """Have an event sent; does not wait."""
        with self._lock:
            if len(self._waiting) >= _MOST:
                self._warn(f"More than {_MOST:,} events wait for it; later ones are lost")
                return
            self._waiting.append(told)
            self._added = time.monotonic()
            if not self._is_working:
                try:
                    threading.Thread(target=self._work, name="flowml-lineage", daemon=True).start()
                except RuntimeError:  # the process ends, and there are no new threads
                    self._waiting.clear()
                    return
                self._is_working = True
            if self._is_idle:  # else it looks by itself: to be woken for each event would cost the task time
                self._changed.notify_all()

    def settle(self) -> None:
        """Wait until all is sent, while events are taken; not at all for a catalogue that fails, or took too long."""
        until = time.monotonic() + _LONGEST
        with self._lock:
            self._awaited += 1
            self._changed.notify_all()
            try:
                while self._waiting and not self._failures and not self._is_slow:
                    taken = self._taken
                    self._changed.wait_for(lambda: self._is_news(taken), _PATIENCE)  # noqa: B023 - called here
                    self._is_slow = not self._is_news(taken) or time.monotonic() > until
            finally:
                self._awaited -= 1
            if self._is_slow and self._waiting:
                self._warn(f"It did not answer within {_PATIENCE:g} seconds, or not for all in {_LONGEST:g}")

    def _is_news(self, taken: int) -> bool:
        return self._taken != taken or not self._waiting or bool(self._failures)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._is_idle = True
                self._changed.wait_for(lambda: self._waiting, _QUIET)
                self._is_idle = False
                if not self._waiting:
                    self._is_working = False
                    return
                self._let_tasks_go_first()
                if not self._waiting:
                    continue
                told = self._waiting[0]
            is_done = self._send(told)
            with self._lock:
                if is_done:
                    self._failures, self._is_slow = 0, False
                    self._taken += 1
                    if self._waiting and self._waiting[0] is told:
                        self._waiting.popleft()
                    self._changed.notify_all()
                else:
                    self._failures += 1
                    self._changed.notify_all()
                    pause = _PAUSES[min(self._failures, len(_PAUSES)) - 1]
                    self._changed.wait_for(lambda: not self._waiting, pause)

    def _let_tasks_go_first(self) -> None:
        """Wait for a quiet moment, as the sender to MLflow does: Python runs one thread at a time."""
        until = time.monotonic() + timing.HOLD
        while not self._awaited and 0 < len(self._waiting) < _MOST / 2 and (now := time.monotonic()) < until:
            if now - self._added >= timing.QUIET:
                return
            self._changed.wait(timing.QUIET)

    def _send(self, told: Told) -> bool:
        """Send one event; tell whether it needs no other try."""
        try:
            event = made(told)
        except Exception as error:  # noqa: BLE001 - flowml's own: the thread goes on with the next
            faults.tell("describe a call for the catalogue", error, _logger, level=logging.WARNING)
            return True
        try:
            self._client.emit(event)
        except Exception as error:  # noqa: BLE001 - whatever a transport raises
            faults.note(error)
            status = getattr(getattr(error, "response", None), "status_code", 0)
            is_refused = status in _REFUSED and status not in _MAY_PASS
            self._warn(mask(f"{type(error).__name__}: {error}")[:300])
            return is_refused
        return True

    def _warn(self, why: str) -> None:
        if not self._has_told:
            self._has_told = True
            _warn(why)


def _warn(why: str) -> None:
    _logger.warning(
        "flowml: the OpenLineage catalogue does not get all that it should. %s. Your flow goes on without it.",
        why.rstrip(". "),
    )


def _names_a_catalogue(theirs: dict[str, str]) -> bool:
    """Tell whether the client's own settings say where events go; without that it would print them."""
    if theirs.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return False
    return bool(theirs.get("OPENLINEAGE_URL") or "file" in theirs) or any(
        name.startswith("OPENLINEAGE__TRANSPORT") for name in theirs
    )


def _client(wanted: str | None, theirs: dict[str, str]) -> OpenLineageClient:
    from openlineage.client import OpenLineageClient
    from openlineage.client.transport.http import HttpConfig, HttpTransport

    if not wanted:
        return OpenLineageClient()
    parts = urlsplit(wanted)
    options: dict[str, Any] = {"url": parts._replace(path="", query="").geturl(), "timeout": _TIMEOUT}
    options["endpoint"] = parts.path.strip("/") or theirs.get("OPENLINEAGE_ENDPOINT", "api/v1/lineage")
    options["retry"] = {"total": 0}  # it is tried again here
    if key := theirs.get("OPENLINEAGE_API_KEY"):
        options["auth"] = {"type": "api_key", "apiKey": key}
    return OpenLineageClient(transport=HttpTransport(HttpConfig.from_dict(options)))


class _Catalogue:
    """The catalogue that the settings name, if they do."""

    def __init__(self) -> None:
        self._named: Any = None
        self._lock = RLock()
        self.sender: _Sender | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_in_fork)

    def _begin_in_fork(self) -> None:
        if self.sender:
            self.sender.begin()

    def load(self) -> None:
        """Make what sends, where another catalogue is named than before."""
        wanted, theirs = settings.current().openlineage_url, settings.of_openlineage()
        with self._lock:
            if (wanted, theirs) == self._named:
                return
            if self.sender:
                self.sender.drop()
            self._named, self.sender = (wanted, theirs), None
            if not wanted and not _names_a_catalogue(theirs):
                return
            try:
                self.sender = _Sender(_client(wanted, theirs))
            except ImportError as error:
                _warn(f"Its client is not installed ({error}): pip install 'prefect-flowml[lineage]'")
            except Exception as error:  # noqa: BLE001 - whatever a setting of the client's makes it raise
                _warn(f"Its client cannot be made of its settings: {mask(str(error))[:300]}")
            self._named = wanted, settings.of_openlineage()  # the client notes some in the environment


_catalogue = _Catalogue()


def load() -> None:
    """Make what sends, if the settings name a catalogue; here, because the thread that sends imports nothing."""
    _catalogue.load()


def is_on() -> bool:
    """Tell whether there is a catalogue."""
    return _catalogue.sender is not None


def namespace() -> str:
    """Return where the names of flows and tasks are unique."""
    return settings.current().openlineage_namespace or settings.from_environment("OPENLINEAGE_NAMESPACE") or "flowml"


def add(told: Told) -> None:
    """Have an event sent; does not wait."""
    if sender := _catalogue.sender:
        sender.add(told)


def settle() -> None:
    """Wait until all is sent, for a short time."""
    if sender := _catalogue.sender:
        sender.settle()
