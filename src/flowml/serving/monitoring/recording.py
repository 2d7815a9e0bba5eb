"""Keeps some requests and their answers, and what people say was right, as Parquet files for who watches the model."""

from __future__ import annotations

import itertools
import json
import logging
import os
import queue
import re
import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flowml import formats
from flowml.secrets import mask
from flowml.serving.asgi import Send, answer, refuse
from flowml.serving.exchange import Exchange

_logger = logging.getLogger(__name__)

_MOST_WAITING = 1000  # rows in memory; more are dropped, for requests come first
_TOGETHER = 500  # rows in one file
_OFTEN = 5.0  # seconds after which what there is becomes a file
_MOST_BYTES = 256 * 2**20  # of all files of a model; the oldest go first
_LONGEST = 100_000  # characters of a request, of its answer, and of a truth
_MARGIN = 1000  # characters after those, so that no secret is cut in two before it is masked
_ID, _OTHER_ID = re.compile("[0-9a-f]{32}"), re.compile(".{1,200}")
_FORM = 'Send JSON such as {"id": "<the answer\'s X-Request-Id>", "truth": 1}.'


def new_id(*, is_kept: bool) -> str:
    """Return an id for a request; it says whether the request is kept, for whoever is told what was right about it."""
    return f"{secrets.randbits(127) * 2 + is_kept:032x}"


class Recorder:
    """Keeps every n-th request.

    Args:
        folder: Where the files are to be.
        every: Every how many requests one is kept; 0: none.
        is_numbering: Whether the ids are those of `new_id`, which say what is kept; else another program makes them.
    """

    def __init__(self, folder: Path, every: int, *, is_numbering: bool = True) -> None:
        self._folder, self._every, self.is_numbering = folder, every, is_numbering
        self._count = itertools.count(1)
        self._files = itertools.count(1)
        self._rows: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue(_MOST_WAITING)
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def wants(self) -> bool:
        """Tell whether the next request is one of those that are kept."""
        return bool(self._every) and next(self._count) % self._every == 0

    def keep(self, exchange: Exchange, shadow: Exchange | None = None) -> None:
        """Keep a request and its answer, and what the version said that is tried beside."""
        row = exchange.row()
        if shadow:
            more = shadow.row()
            row |= {f"shadow_{key}": more[key] for key in ("version", "model_id", "milliseconds", "status", "answer")}
            row["equal"] = (shadow.status, shadow.answer) == (exchange.status, exchange.answer)
        texts = {key: value[: _LONGEST + _MARGIN] for key, value in row.items() if isinstance(value, bytes)}
        self._put("shadow" if shadow else "requests", row | texts)

    async def feedback(self, body: bytes, send: Send) -> None:
        """Take what somebody says was right about an answer."""
        try:
            number, truth = _feedback(body, is_own=self.is_numbering)
        except ValueError as error:
            await refuse(send, f"That is no feedback: {error}. {_FORM}", HTTPStatus.BAD_REQUEST)
            return
        if self.is_numbering and int(number, 16) % 2 == 0:
            why = "The answer with this id was not kept, so that nothing can be compared: see --sample."
            await answer(send, {"id": number, "kept": False, "message": why}, HTTPStatus.ACCEPTED)
        elif self._put("feedback", {"id": number, "time": formats.now(), "truth": truth.encode()}):
            more = {"kept": True} if self.is_numbering else {}
            await answer(send, {"id": number, **more}, HTTPStatus.ACCEPTED)
        else:
            await refuse(send, "Too much feedback waits to be written. Send it again.")

    def close(self) -> None:
        """Write what there is."""
        self._is_over.set()
        if self._thread:
            self._thread.join(_OFTEN)

    def _put(self, kind: str, row: dict[str, Any]) -> bool:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="flowml-requests", daemon=True)
            self._thread.start()
        try:
            self._rows.put_nowait((kind, row))
        except queue.Full:
            return False
        return True

    def _write_all(self) -> None:
        while not (self._is_over.is_set() and self._rows.empty()):
            rows: dict[str, list[dict[str, Any]]] = {}
            until = time.monotonic() + _OFTEN
            while (left := until - time.monotonic()) > 0 and sum(map(len, rows.values())) < _TOGETHER:
                if self._is_over.is_set() and self._rows.empty():
                    break
                with suppress(queue.Empty):
                    kind, row = self._rows.get(timeout=min(left, 0.5))
                    rows.setdefault(kind, []).append(row)
            for kind, some in rows.items():
                try:
                    self._write(kind, some)
                except Exception:  # a full disk must not keep the model from answering
                    _logger.warning("flowml: %d rows of %s could not be kept", len(some), kind, exc_info=True)

    def _write(self, kind: str, rows: list[dict[str, Any]]) -> None:
        import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
        import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]

        folder = self._folder / kind
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{formats.now()}-{os.getpid()}-{next(self._files)}.parquet"
        draft = folder / f".{name}"
        pq.write_table(pa.Table.from_pylist([_shown(row) for row in rows]), draft)
        draft.replace(folder / name)
        kept = sorted(folder.glob("*.parquet"))
        sizes = [one.stat().st_size for one in kept]
        while len(kept) > 1 and sum(sizes) > _MOST_BYTES:
            kept.pop(0).unlink(missing_ok=True)
            sizes.pop(0)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as it is kept: texts are masked, and cut where they are long."""
    texts = {key: value.decode("utf-8", "replace") for key, value in row.items() if isinstance(value, bytes)}
    return {**row, **{key: mask(text)[:_LONGEST] for key, text in texts.items()}}


def _feedback(body: bytes, *, is_own: bool) -> tuple[str, str]:
    """Return the id and the truth, as JSON, of what somebody sent.

    Raises:
        ValueError: If it has none.
    """

    def refuse_constant(name: str) -> None:
        msg = f"{name} is no JSON"
        raise ValueError(msg)

    try:
        told = json.loads(body, parse_constant=refuse_constant)
    except RecursionError:
        msg = "it is nested too deeply"
        raise ValueError(msg) from None
    if not isinstance(told, dict) or not {"id", "truth"} <= set(told):
        msg = "it takes the fields id and truth"
        raise ValueError(msg)
    number, truth = told["id"], json.dumps(told["truth"])
    if not isinstance(number, str) or not (_ID if is_own else _OTHER_ID).fullmatch(number):
        msg = f"the id is what an answer has in its header X-Request-Id, not {str(number)[:80]!r}"
        raise ValueError(msg)
    if len(truth) > _LONGEST:
        msg = f"the truth has {len(truth):,} characters, and may have {_LONGEST:,}"
        raise ValueError(msg)
    return number, truth
