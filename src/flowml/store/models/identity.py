"""Remembers which object was serialized as which model: none is logged twice, and a task given it links to it."""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import sys
import uuid
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowml.errors import TrackingError, pass_on
from flowml.locks import RLock
from flowml.patches.mlflow import AUTOLOGGED_MODELS, AUTOLOGGED_RUN
from flowml.store.journal.journal import TAG
from flowml.store.journal.scratch import Scratch

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

_MOST = 100_000_000  # bytes of a pickled model of which a digest is made: it takes two copies of it
_VERBS = ("predict", "forward", "transform")  # of which a model has one
_MOST_MEMBERS = 100  # of a result, that are looked at: a list may have millions
_LEFT_BY_AUTOLOG = AUTOLOGGED_RUN.name.rpartition(".")[2]


class Serialized:
    """A model as it was at one moment: its files while they are still to be sent, its ids once they are.

    A task that returns what another returned shares them, so that whichever is sent first uploads and the other links.

    Attributes:
        content: The object's fingerprint at that moment; None if it has none.
        name: What flowml logs it as; None where somebody else logged it.
        ids: The logged model's id in each store that has it, by tracking URI.
        begun: Logged models whose files are not there yet, by tracking URI and run.
        tried: Where one may have been begun, and nobody knows: by tracking URI and run.
        scratch: Its files, while somebody holds them.
        key: A tag of the logged model, by which it is found again.
        reused: Where Prefect's cache keeps the result that it came from; None if it came from none.
    """

    def __init__(self, content: str | None, name: str | None = None, *, key: str | None = None) -> None:
        self.key = key or uuid.uuid4().hex
        self.content = content
        self.name = name
        self.ids: dict[str, str] = {}
        self.begun: dict[tuple[str, str], LoggedModel] = {}
        self.tried: set[tuple[str, str]] = set()
        self.reused: str | None = None
        self.is_restored = False  # read from a journal: it may be logged already
        self._holders = 0
        self._lock = RLock()
        self.scratch: Scratch | None = None

    @property
    def folder(self) -> Path:
        """Where the files are while somebody holds them."""
        if self.scratch is None:
            msg = "the model's files are gone: they waited on the disk, and somebody has removed them."
            raise TrackingError(msg)
        return self.scratch.path / "model"

    def hold(self, uri: str, write: Callable[[Path], None]) -> None:
        """Keep the files until `release`, writing them first if they are not there and the store has not got them.

        Raises:
            Exception: Whatever ``write`` raises; nothing is left then.
        """
        with self._lock:
            if self.scratch is None and uri not in self.ids:
                scratch = Scratch()
                try:
                    write(scratch.path / "model")
                except BaseException:
                    scratch.remove()
                    raise
                scratch.weigh()
                self.scratch = scratch
            self._holders += 1

    def hold_restored(self) -> None:
        """Keep the files that are there until `release`."""
        with self._lock:
            self._holders += 1

    def let_go(self) -> None:
        """Leave the files to the journal, which somebody reads again."""
        with self._lock:
            self._holders -= 1
            if self._holders == 0 and self.scratch is not None:
                self.scratch.let_go()
                self.scratch = None

    def release(self) -> None:
        """Remove the files, if nobody else holds them."""
        with self._lock:
            self._holders -= 1
            if self._holders == 0 and self.scratch is not None:
                self.scratch.remove()
                self.scratch = None


@dataclass(frozen=True, slots=True)
class _Known:
    reference: weakref.ref[Any]
    serialized: Serialized


_known: dict[int, _Known] = {}  # by identity: equality and hashes belong to the user's class
_lock = RLock()


def serialized_of(value: object) -> Serialized | None:
    """Give what this very object was serialized as last in this process, if it was."""
    found = _known.get(id(value))
    return found.serialized if found is not None and found.reference() is value else None


def unchanged_or_new(value: object, name: str | None = None, *, is_wanted: bool = False) -> Serialized:
    """Give what this very object was serialized as, if it still is the same, or else something to serialize it to.

    Args:
        value: The object.
        name: What it is to be logged as.
        is_wanted: Whether the user chose the name: under another one it is logged again, as MLflow cannot rename it.
    """
    content = _fingerprint_of(value)
    with _lock:
        found = serialized_of(value)
        is_other = is_wanted and found is not None and found.name not in {None, name}
        if found is None or content is None or found.content != content or is_other:
            found = Serialized(content, name)
            _remember(value, found)
        return found


def note_logged(value: object, uri: str, model_id: str) -> None:
    """Remember what the user's code has logged as a model by itself: it is linked then, not logged again."""
    unchanged_or_new(value).ids[uri] = model_id


def note_reused(result: object, key: str) -> None:
    """Remember which models came from Prefect's cache, as they are now: one that is changed later is another model.

    Args:
        result: What a task that was not run returned.
        key: Where Prefect keeps it.
    """
    members = result.values() if isinstance(result, dict) else result if isinstance(result, list | tuple) else [result]
    for one in islice(members, _MOST_MEMBERS):
        if any(hasattr(type(one), verb) for verb in _VERBS) and serialized_of(one) is None:
            unchanged_or_new(one).reused = key


def find(client: MlflowClient, model: Serialized, experiment_id: str) -> None:
    """Look for a model that a process which is gone has logged: its id is in no journal any more.

    Raises:
        Exception: What MLflow raises.
    """
    found = client.search_logged_models([experiment_id], f"tags.`{TAG}` = '{model.key}'", max_results=1)
    if found:
        model.ids[client.tracking_uri] = str(found[0].model_id)


def autologged_model_id_of(model: object) -> str | None:
    """Give the id of the model that MLflow's scikit-learn autologging, turned on by the user, made of this object."""
    known = AUTOLOGGED_MODELS.get() if "mlflow.sklearn" in sys.modules else None
    find = getattr(known, "get_model_id_for_model", None)
    found = find(model) if find else None
    return found if isinstance(found, str) else None


class _TooLargeError(Exception):
    """A model is larger than what a digest is made of."""


class _Short:
    """A file that keeps nothing, and takes no more than what a digest is made of."""

    def __init__(self) -> None:
        self._size = 0

    def write(self, part: bytes, /) -> None:
        self._size += memoryview(part).nbytes
        if self._size > _MOST:
            raise _TooLargeError


class _Hashing:
    """A file that keeps the digest of what is written alone."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, part: bytes, /) -> None:
        self.digest.update(part)


def digest_of(value: object) -> str | None:
    """Give a digest by which a model is known again where its object is another, such as one that a cache gave.

    It is that of a copy which was pickled and read again. What a fit leaves has another hash than what a cache gives
    back of it, as parts of it may be one object here and two there; a copy of a copy has the same.

    Returns:
        The digest; None of what cannot be pickled, or is so large that copies of it could fill the memory.
    """
    try:
        pickle.Pickler(_Short(), pickle.HIGHEST_PROTOCOL).dump(value)
    except _TooLargeError:
        return None
    except BaseException as error:  # noqa: BLE001 - of any class of the user's
        pass_on(error)
        return _fingerprint_of(value)
    try:
        copied = pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))  # noqa: S301 - written in this very line
        return _fingerprint_of(copied) or hashlib.sha256(pickle.dumps(copied, pickle.HIGHEST_PROTOCOL)).hexdigest()
    except BaseException as error:  # noqa: BLE001 - of any class of the user's
        pass_on(error)
        return _fingerprint_of(value)


def _fingerprint_of(value: object) -> str | None:
    import joblib

    try:
        if _LEFT_BY_AUTOLOG in vars(value):  # set after MLflow has logged the model, which is the same for all that
            value = copy.copy(value)
            del vars(value)[_LEFT_BY_AUTOLOG]
    except BaseException as error:  # noqa: BLE001 - of any class of the user's; it is hashed as it is
        pass_on(error)
    try:
        return str(joblib.hash(value))
    except BaseException as error:  # noqa: BLE001 - of any class of the user's; it knows no masked arrays, as searches have
        pass_on(error)
    pickled = _Hashing()
    try:
        pickle.Pickler(pickled, pickle.HIGHEST_PROTOCOL).dump(value)
    except BaseException as error:  # noqa: BLE001 - of any class of the user's
        pass_on(error)
        return None
    return pickled.digest.hexdigest()


def _remember(value: object, serialized: Serialized) -> None:
    key = id(value)
    try:
        reference = weakref.ref(value, lambda dead: _forget(key, dead))
    except TypeError:  # an object that cannot be referred to is not recognised
        return
    _known[key] = _Known(reference, serialized)


def _forget(key: int, dead: weakref.ref[Any]) -> None:
    """Drop a dead object's entry, unless its address already belongs to another."""
    entry = _known.get(key)
    if entry is not None and entry.reference is dead:
        del _known[key]


def _keep_what_was_sent() -> None:
    """Let a forked child serialize for itself what its parent has not sent yet."""
    for key, entry in list(_known.items()):
        if entry.serialized.ids:
            sent = Serialized(entry.serialized.content, entry.serialized.name)
            sent.ids = dict(entry.serialized.ids)
            _known[key] = _Known(entry.reference, sent)
        else:
            del _known[key]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_what_was_sent)
