"""MLflow's autologging, made to follow the context: on for one task, and right in tasks that run at the same time.

MLflow turns autologging on for the whole process. It also notes in global variables that a fit is being logged, and
that nothing else is to be logged meanwhile, so of two fits in two threads one is lost. Here all that is asked of the
context. Like `active`, this file touches private names of MLflow; if they are not as expected, it is left as it is.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from threading import Lock
from types import ModuleType
from typing import Any

from flowml.options import AUTOLOG_LIBRARIES
from flowml.store.backend.imports import import_patiently

_on: ContextVar[frozenset[str]] = ContextVar("flowml_autolog", default=frozenset())
_session: ContextVar[Any] = ContextVar("flowml_autolog_session", default=None)
_silenced: ContextVar[bool] = ContextVar("flowml_autolog_silenced", default=False)
_lock = Lock()


@contextmanager
def autologging(wanted: bool | str | Collection[str]) -> Iterator[None]:  # noqa: FBT001 - as in Track(autolog=True)
    """Turn autologging on in this context.

    Models are left to flowml, which logs the one that the task returns: MLflow takes seconds for each fit.

    Args:
        wanted: Flavors by name; True for those whose library is in use, False for none.
    """
    flavors = _named(wanted)
    for flavor in flavors:
        _install(flavor)
    token = _on.set(flavors or _on.get())
    try:
        yield
    finally:
        _on.reset(token)


@cache
def follow_context() -> None:
    """Make what MLflow notes of a fit in progress a matter of the context; once for the process."""
    from mlflow.utils import autologging_utils
    from mlflow.utils.autologging_utils import safety

    try:
        sessions: Any = safety._AutologgingSessionManager  # noqa: SLF001
        silence: Any = autologging_utils.disable_autologging.__wrapped__  # type: ignore[attr-defined]
        fits: Any = autologging_utils._training_sessions  # noqa: SLF001
        expected = {"start_session", "active_session"} <= vars(sessions).keys()
        expected = expected and silence.__code__.co_names == ("_AUTOLOGGING_GLOBALLY_DISABLED",)
    except AttributeError:
        return
    if not expected:
        return
    sessions.start_session = staticmethod(_start_session)
    sessions.active_session = staticmethod(_session.get)
    silence.__code__ = _silence.__code__  # the function is imported by name elsewhere: it must stay the same object
    autologging_utils.__class__ = _AutologgingUtils
    autologging_utils._training_sessions = _FitClasses(fits)  # noqa: SLF001


class _AutologgingUtils(ModuleType):
    """MLflow's module, whose global flag is asked of the context."""

    @property
    def _AUTOLOGGING_GLOBALLY_DISABLED(self) -> bool:  # noqa: N802 - MLflow's name
        return _silenced.get()


class _FitClasses(list[Any]):
    """MLflow's classes of fits in progress, one for a flavor; each has its stack by context from the beginning."""

    def __init__(self, known: list[Any]) -> None:
        super().__init__()
        for fits in known:
            self.append(fits)

    def append(self, fits: Any) -> None:
        fits._session_stack = _FitStack()  # noqa: SLF001
        super().append(fits)


class _FitStack:
    """The fits in progress, one inside the other, in this context."""

    def __init__(self) -> None:
        self._here: ContextVar[tuple[Any, ...]] = ContextVar("flowml_autolog_fits", default=())

    def __len__(self) -> int:
        return len(self._here.get())

    def __getitem__(self, index: int) -> Any:
        return self._here.get()[index]

    def append(self, fit: Any) -> None:
        self._here.set((*self._here.get(), fit))

    def pop(self) -> None:
        self._here.set(self._here.get()[:-1])


@contextmanager
def _start_session(integration: str) -> Iterator[Any]:
    from mlflow.utils.autologging_utils.safety import AutologgingSession

    outer = _session.get()
    token = _session.set(outer or AutologgingSession(integration, uuid.uuid4().hex))
    try:
        yield _session.get()
    finally:
        _session.reset(token)


def _silence() -> Iterator[None]:  # runs as MLflow's own function: it can name nothing of this module
    from flowml.store.by_hand.autolog import silenced

    with silenced():
        yield


@contextmanager
def silenced() -> Iterator[None]:
    """Log nothing automatically in this context."""
    token = _silenced.set(True)
    try:
        yield
    finally:
        _silenced.reset(token)


def _named(wanted: bool | str | Collection[str]) -> frozenset[str]:  # noqa: FBT001
    if wanted is True:
        return frozenset(flavor for flavor, library in AUTOLOG_LIBRARIES.items() if library in sys.modules)
    if wanted is False:
        return frozenset()
    return frozenset([wanted] if isinstance(wanted, str) else wanted)


def _install(flavor: str) -> None:
    """Install an integration, unless it is or the user has it on everywhere."""
    from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS

    if isinstance(AUTOLOGGING_INTEGRATIONS.get(flavor), _OnHere):
        return
    module: Any = import_patiently(f"mlflow.{flavor}")
    with suppress(ImportError):  # MLflow says that it is missing
        import_patiently(AUTOLOG_LIBRARIES[flavor])  # now: MLflow would, under a lock that its import hooks wait for
    with _lock:
        config = AUTOLOGGING_INTEGRATIONS.get(flavor)
        if isinstance(config, _OnHere) or (config and not config.get("disable", True)):
            return
        module.autolog(log_models=False, silent=True)
        AUTOLOGGING_INTEGRATIONS[flavor] = _OnHere(flavor, AUTOLOGGING_INTEGRATIONS[flavor])


class _OnHere(dict[str, Any]):
    """An integration's settings, disabled wherever the context does not say otherwise."""

    def __init__(self, flavor: str, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self._flavor = flavor

    def get(self, key: str, default: Any = None) -> Any:
        """Return a setting; ``disable`` by the context."""
        return self._flavor not in _on.get() if key == "disable" else super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        return self.get(key)
