"""Follows references between the modules loaded in this process: which libraries does this one bring along?"""

from __future__ import annotations

import dis
import pickletools
import re
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import IO

from flowml.locks import RLock
from flowml.patches.mlflow import PACKAGES_OF_MODULES
from flowml.store.backend.imports import is_importing

# mlflow is pinned by MLflow itself; pytest would come and go with who else in this process has loaded skops.
_NOT_FOLLOWED = frozenset({"mlflow", "pytest", "setuptools", "pkg_resources", "__main__", "databricks"})

_references: dict[str, set[str]] = {}  # top-level module → the top-level modules that it refers to
_scanned: set[str] = set()
_owners: dict[str, list[str]] = {}  # top-level module → the distributions that provide it
# One at a time: tasks that end together list the installed packages and follow references once, not once each.
# Re-entrant: the garbage collector may end a generator task inside, which saves its model.
_looking = RLock()
_PAUSES = (0.02, 0.1, 0.5)
_PATIENCE = 30.0  # seconds that a task waits for another one's look; then it looks itself


@contextmanager
def looking() -> Iterator[None]:
    """Look one after the other, so that what one thread finds out the next ones know; wait for a limited time."""
    is_alone = _looking.acquire(timeout=_PATIENCE)
    try:
        yield
    finally:
        if is_alone:
            _looking.release()


def list_installed() -> None:
    """Have MLflow list the installed packages, once: it does so in each thread that saves a model before one is done.

    The list serves `distributions_of` too.
    """
    with looking():
        if not _owners:
            _owners.update({module: sorted(set(owners)) for module, owners in _by_module().items()})


def _by_module() -> Mapping[str, list[str]]:
    import importlib_metadata  # the standard library's own in Python 3.10 misses packages without a top_level.txt
    from mlflow.utils import requirements_utils

    for pause in _PAUSES:
        try:
            requirements_utils.warn_dependency_requirement_mismatches(["mlflow"])
        except RuntimeError:  # of a dictionary that another thread, where the user logs a model, changes meanwhile
            time.sleep(pause)
        else:
            return dict(PACKAGES_OF_MODULES.get() or importlib_metadata.packages_distributions())
    return importlib_metadata.packages_distributions()


def distributions_of(module: str) -> list[str]:
    """Name the installed distributions that provide a top-level module: ``"sklearn"`` → ``["scikit-learn"]``."""
    list_installed()
    return _owners.get(module, [])


def reachable(roots: Iterable[str], alone: frozenset[str] = frozenset()) -> set[str]:
    """Name all top-level modules that these refer to, directly or through others, themselves included.

    Args:
        roots: Where to start.
        alone: Modules that are not followed.
    """
    with looking():
        loaded = _loaded_by_library()
        reached: set[str] = set()
        waiting = list(roots)
        while waiting:
            top = waiting.pop()
            if top in reached or top.startswith("_") or top in sys.stdlib_module_names:
                continue
            reached.add(top)
            if top in alone:
                continue
            waiting += _references_of(top, loaded.get(top, [])) - _NOT_FOLLOWED
        return reached


def _loaded_by_library() -> dict[str, list[str]]:
    loaded: dict[str, list[str]] = {}
    for name in list(sys.modules):
        loaded.setdefault(name.partition(".")[0], []).append(name)
    return loaded


def _references_of(top: str, names: list[str]) -> set[str]:
    """Scan the modules of one library that are new since the last time."""
    found = _references.setdefault(top, set())
    is_own_code = not distributions_of(top)
    for name in names:
        module = sys.modules.get(name)
        if name in _scanned or not isinstance(module, ModuleType) or is_importing(module):
            continue
        _scanned.add(name)
        for value in list(vars(module).values()):
            found |= _origin(value)
            # A library's imports inside of functions are options; in the user's own code they are needed.
            if is_own_code and isinstance(value, FunctionType | type) and value.__module__ == name:
                found |= imports_in_class(value) if isinstance(value, type) else _imports_in(value.__code__)
    return found - {top}


def _origin(value: object) -> set[str]:
    """Name the library that a module-level value comes from; exact types only, as lazy stand-ins run code."""
    if type(value) is ModuleType:
        name: object = value.__name__
    elif type(value) is FunctionType or issubclass(type(value), type):  # isinstance would ask the value
        name = value.__module__
    else:
        return set()
    return {name.partition(".")[0]} if isinstance(name, str) else set()


def imports_in_class(cls: type) -> set[str]:
    """Name the libraries imported inside of the methods of a class and of its bases outside MLflow."""
    methods = (
        value.__wrapped__ if hasattr(value, "__wrapped__") else value
        for base in cls.__mro__
        if base is not object and not base.__module__.startswith("mlflow.")
        for value in tuple(vars(base).values())  # to look at one may add another
    )
    return {name for method in methods if isinstance(method, FunctionType) for name in _imports_in(method.__code__)}


def _imports_in(code: CodeType) -> set[str]:
    found = {
        str(step.argval).partition(".")[0]
        for step in dis.get_instructions(code)
        if step.opname == "IMPORT_NAME" and step.argval
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _imports_in(constant)
    return found


_SKOPS_MODULE = re.compile(r'"__module__":\s*"([^".]+)')
_PICKLES = frozenset({".pkl", ".statsmodels"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_SUBIMPORT = ("cloudpickle.cloudpickle", "subimport")  # how cloudpickle writes a reference to a whole module


def modules_named_in(folder: Path) -> set[str]:
    """Name the top-level modules that loading the files in a saved model's folder imports."""
    found: set[str] = set()
    for file in folder.rglob("*"):
        if file.suffix == ".skops":
            with zipfile.ZipFile(file) as archive:
                found.update(_SKOPS_MODULE.findall(archive.read("schema.json").decode()))
        elif file.suffix in _PICKLES:
            with file.open("rb") as stream:
                found.update(_modules_in_pickle(stream))
        elif file.suffix == ".pth" and zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                for member in archive.namelist():
                    if member.endswith("data.pkl"):
                        with archive.open(member) as stream:
                            found.update(_modules_in_pickle(stream))
    return found


def _modules_in_pickle(stream: IO[bytes]) -> Iterator[str]:
    """Follow a pickle's opcodes far enough to know its references: classes, functions, and modules by cloudpickle."""
    memo: dict[int, object] = {}
    below: object = None
    top: object = None  # what was pushed last: a text, a reference as (module, name), or None for anything else
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "MEMOIZE":
            memo[len(memo)] = top
        elif opcode.name in _PUTS:
            memo[int(str(argument))] = top
        else:
            pushed = _pushed(opcode.name, argument, (below, top), memo)
            if isinstance(pushed, tuple) and isinstance(pushed[0], str):
                yield pushed[0].partition(".")[0]
            elif top == _SUBIMPORT and isinstance(pushed, str):
                yield pushed.partition(".")[0]
            below, top = top, pushed


def _pushed(opcode: str, argument: object, stack: tuple[object, object], memo: dict[int, object]) -> object:
    """What an opcode leaves on top of the stack, as far as references go."""
    if opcode == "GLOBAL":
        return tuple(str(argument).split(" ", 1))
    if opcode == "STACK_GLOBAL":
        return stack
    if opcode in _GETS:
        return memo.get(int(str(argument)))
    return argument if isinstance(argument, str) else None
