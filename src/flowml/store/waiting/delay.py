"""How long MLflow may delay a flow, in all of its processes together: the setting ``max_delay``."""

from __future__ import annotations

import os
import tempfile
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from flowml import settings
from flowml.locks import RLock

_LEAST = 0.001  # seconds that are worth telling others
_MOST = 200  # runs of other processes of which it is remembered how long calls below them waited here


class Delay:
    """How long a flow may still wait for an MLflow that fails or does not answer.

    The processes of one machine that work for a flow tell each other how long they waited, in a file of the system's
    folder for temporary files: a pool is only done when each of its processes is.

    Args:
        key: The key of the outermost run, by which they find it. Default: none, for what is no flow's.
        is_elsewhere: Whether the flow is another process's.
    """

    newest: Delay | None = None  # the one that was spent of last

    def __init__(self, key: str | None = None, *, is_elsewhere: bool = False) -> None:
        self.key = key
        self.is_elsewhere = is_elsewhere
        self._made_in = os.getpid()
        self._spent = 0.0
        self._others, self._until, self._read = 0.0, 0.0, 0  # of other processes: seconds, to when, the bytes of that
        self._lock = RLock()

    def spend(self, seconds: float) -> None:
        """Note that somebody waited."""
        with self._lock:
            self._spent += seconds
            Delay.newest = self
            now = time.time()
            if self.key and seconds >= _LEAST:
                self._tell(f"{os.getpid()} {now - seconds:.3f} {now:.3f}\n".encode())

    def left(self) -> float:
        """Return the seconds that may still be waited."""
        own = settings.current().max_delay - self._spent
        return max(0.0, own - self._spent_by_others()) if own > 0 else 0.0

    def forget(self) -> None:
        """Remove what the processes told each other: the flow is over."""
        if self.key and not self.is_elsewhere and self._made_in == os.getpid():  # not in a forked child
            with suppress(OSError):
                self._file().unlink()
            self._read = 0

    def _file(self) -> Path:
        name = "".join(letter if letter.isalnum() else "_" for letter in self.key or "")  # another process told it
        return Path(tempfile.gettempdir(), f"flowml-{name[:64]}.waited")

    def _tell(self, line: bytes) -> None:
        with suppress(OSError):
            file = os.open(self._file(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, line)  # in one piece: others write at the same time
            finally:
                os.close(file)

    def _spent_by_others(self) -> float:
        """Return for how long others have waited; those that waited at the same time did so once."""
        if not self.key:
            return 0.0
        with self._lock, suppress(OSError, ValueError), self._file().open("rb") as file:
            file.seek(self._read)
            told, _, _ = file.read().rpartition(b"\n")
            self._read += len(told) + 1 if told else 0
            for line in told.splitlines():
                who, begun, ended = line.split()
                if int(who) != os.getpid():
                    self._others += max(0.0, float(ended) - max(float(begun), self._until))
                    self._until = max(self._until, float(ended))
        return self._others


_below: OrderedDict[str, Delay] = OrderedDict()


def delay_below(run: str, key: str | None = None) -> Delay:
    """Return the one delay of all calls that work in this process below a run of another.

    Args:
        run: Its id, or the key that finds it later.
        key: The key of the outermost run above it, if that is known.
    """
    name = key or run
    found = _below.get(name)
    if found is None:
        found = _below[name] = Delay(key, is_elsewhere=True)
    _below.move_to_end(name)
    while len(_below) > _MOST:
        _below.popitem(last=False)
    return found
