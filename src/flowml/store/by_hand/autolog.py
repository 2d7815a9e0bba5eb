"""MLflow's autologging, on for one task only.

MLflow turns autologging on for the whole process; here it is asked of the context. It notes in global variables that a
fit is being logged, and that nothing else is to be logged meanwhile: of two fits at the same time, in two threads of
one process, it may lose one or log one to the other's run. Tasks that autolog side by side are told so once.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import cache
from typing import Any

from flowml.locks import RLock
from flowml.options import AUTOLOG_LIBRARIES
from flowml.store.backend.imports import import_patiently

_on: ContextVar[frozenset[str]] = ContextVar("flowml_autolog", default=frozenset())
_lock = RLock()
_at_work = 0


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
    is_inside = bool(_on.get())
    token = _on.set(flavors or _on.get())
    try:
        with nullcontext() if is_inside or not flavors else _counted():
            yield
    finally:
        _on.reset(token)


@contextmanager
def _counted() -> Iterator[None]:
    """Count the tasks that autolog; say once that MLflow does not keep apart those that do at the same time."""
    global _at_work  # noqa: PLW0603 - the one place that counts
    with _lock:
        _at_work += 1
        several = _at_work > 1
    if several:
        _say_several()
    try:
        yield
    finally:
        with _lock:
            _at_work -= 1


@cache
def _say_several() -> None:
    logging.getLogger("prefect.flowml").warning(
        "flowml: tasks with Track(autolog=...) run at the same time in one process. MLflow notes a fit in progress for "
        "the whole process: it may lose one, or log it to another task's run. Run them one after another, or each in a "
        "process of its own (ProcessPoolTaskRunner)."
    )


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
