"""Nothing is imported in the background while the user's code may be importing: both could wait for each other.

Python locks its import system while it looks for a module. MLflow looks too, under a lock of its own, and holds that
while a hook of its imports, as in ``mlflow.models.evaluate``. So a thread that looks for a module, and one in such a
hook, can wait for each other for ever.

What flowml's threads need is imported here, in the thread of whoever begins a call or hands over a model. Tasks still
import in their own threads, to save a model: so MLflow's hooks are called when its lock is free again, and a task waits
until other threads have imported.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, partial, wraps
from itertools import chain, repeat
from types import ModuleType
from typing import Any

from flowml import errors
from flowml.locks import RLock
from flowml.patches import in_place
from flowml.patches.mlflow import REGISTRY_STORES, SPARK_SESSION
from flowml.patches.others import INITIALIZING

_OF_SERVERS = ("netrc", "encodings.idna")  # what requests and sockets import at the first request
_OF_DATABASES = (
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
)
_QUIET = 5.0  # seconds that a task waits for the imports of other threads
_GLANCES = (0.02, 0.05, 0.1, 0.2)  # between looks at all modules, each of which costs some milliseconds
_PAUSES = (0.1, 0.5, 1.0)
_waited_for: set[str] = set()  # modules
_one_at_a_time = RLock()


def load(uri: str) -> None:
    """Import what the threads that send to a store need, but for its model registry.

    Args:
        uri: Its tracking URI.
    """
    _install()
    _import(_needed(uri))


def is_loaded(uri: str) -> bool:
    """Tell whether a store can be connected to in the background: nothing is left to import."""
    return sys.modules.keys() >= set(_needed(uri))


@cache
def load_registry() -> None:
    """Import what registering a model needs, with the libraries of the registry in force."""
    import mlflow

    uri = mlflow.get_registry_uri()
    if is_database(uri):
        import sqlalchemy

        _import(_OF_DATABASES)
        sqlalchemy.create_engine(uri).dispose()  # imports its driver, and connects to nothing
    if make := REGISTRY_STORES.get():
        make()  # asks the installed packages for registries of their own


def import_patiently(name: str) -> ModuleType:
    """Import what saves a model, in the task's thread, when no other thread seems to be importing.

    Of two threads that import modules which need each other, Python fails one: that is this one, and it tries again.
    Of tasks that save their first models at once, one imports and the others wait for it.

    Raises:
        ImportError: If it cannot be imported.
    """
    there = sys.modules.get(name)
    if there is not None and not is_importing(there):
        return there
    alone = _one_at_a_time.acquire(timeout=_QUIET)
    try:
        return _import_again(name)
    finally:
        if alone:
            _one_at_a_time.release()


def _import_again(name: str) -> ModuleType:
    for pause in _PAUSES:
        _wait_for_others()
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            raise
        except Exception:  # noqa: BLE001 - of a module that is there in part: ImportError, AttributeError, KeyError
            time.sleep(pause)
    return importlib.import_module(name)


def is_disturbed(error: BaseException) -> bool:
    """Tell whether a library went through what another thread, which imports or logs a model, was adding to."""
    return isinstance(error, RuntimeError) and "changed size during iteration" in str(error)


def let_through(error: BaseException) -> None:
    """Raise again what must not be stopped, and what goes well when it is done again.

    Raises:
        BaseException: The error itself, if it is one of those.
    """
    if is_disturbed(error):
        raise error
    errors.pass_on(error)


def _wait_for_others() -> None:
    """Wait until no module is being imported; not again for one that runs a flow while it is."""
    until = time.monotonic() + _QUIET
    glances = chain(_GLANCES, repeat(_GLANCES[-1]))
    while others := {name for name, module in list(sys.modules.items()) if is_importing(module)} - _waited_for:
        if time.monotonic() > until:
            _waited_for.update(others)
        time.sleep(next(glances))


def is_importing(module: ModuleType) -> bool:
    """Tell whether a module is being imported at this moment; one that is loaded when it is asked is not asked."""
    kept = object.__getattribute__(module, "__dict__") if issubclass(type(module), ModuleType) else {}
    return bool(INITIALIZING.of(kept.get("__spec__")))


def _needed(uri: str) -> tuple[str, ...]:
    if uri.startswith(("http://", "https://")):
        return _OF_SERVERS
    return _OF_DATABASES if is_database(uri) else ()


def is_database(uri: str) -> bool:
    """Tell whether MLflow opens a store of this URI as a database, with SQLAlchemy."""
    from mlflow.store.db.db_types import DATABASE_ENGINES

    return uri.partition("://")[0].partition("+")[0] in DATABASE_ENGINES


def _import(modules: tuple[str, ...]) -> None:
    for module in modules:
        importlib.import_module(module)


@cache
def _install() -> None:
    """Have MLflow call its hooks without its lock, and look for no Spark session where there can be none."""
    from mlflow.utils import import_hooks

    _call_hooks_unlocked(import_hooks.register_post_import_hook)
    if look := SPARK_SESSION.get():
        in_place.take_over(look, _active_spark_session)


def _active_spark_session(original: Callable[[], Any]) -> Any:
    """Look for a session only where pyspark is loaded: MLflow tries to import it at each call, also where it is not."""
    return original() if "pyspark" in sys.modules else None


def _call_hooks_unlocked(register: Any) -> None:
    """Have a hook for a module that is there already called when the lock of MLflow's hooks is free again.

    The function stays the same object. MLflow keeps the lock, and the function that it guards, in the cells of the one
    that others call; where that should not be so, nothing is changed.
    """
    cells = dict(zip(register.__code__.co_freevars, register.__closure__ or (), strict=True))
    if cells.keys() == {"f", "lock"}:
        cells["f"].cell_contents = partial(_register, cells["f"].cell_contents, cells["lock"].cell_contents)
        cells["lock"].cell_contents = nullcontext()


def _register(original: Callable[..., None], lock: Any, hook: Any, name: str, *args: Any, **kwargs: Any) -> None:
    if not callable(hook):  # the name of a function
        with lock:
            original(hook, name, *args, **kwargs)
        return
    here, there = threading.get_ident(), list[ModuleType]()

    @wraps(hook)
    def later_here(module: ModuleType) -> None:
        if here == threading.get_ident() and is_registering:
            there.append(module)
        else:
            hook(module)

    is_registering = True
    with lock:
        original(later_here, name, *args, **kwargs)
    is_registering = False
    for module in there:
        hook(module)
