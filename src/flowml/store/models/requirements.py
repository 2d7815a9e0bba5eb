"""Finds the pip requirements of a saved model without starting a second Python.

MLflow loads the model in a subprocess and notes each import, which takes seconds. The libraries that a model needs
are already loaded here, though, and their namespaces show what they imported: so start from the modules that the saved
model names, and follow the references from library to library.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowml.store.models.imports import distributions_of, imports_in_class, looking, modules_named_in, reachable

_LIBRARY = {"pytorch": "torch", "pyfunc": "cloudpickle"}  # flavor → top-level module, where they differ
_FORMAT_LIBRARY = {".skops": "skops", ".pkl": "cloudpickle", ".pth": "cloudpickle"}  # file → what reads it
# What MLflow's inference finds beyond references: skops asks each loaded module for type names, which makes polars
# import, and imports all of scikit-learn, whose test support imports pytest; MLflow runs ONNX models by onnxruntime; a
# library that asks for its own version, as Prophet's do, makes importlib_metadata import zipp; transformers imports
# scipy when MLflow looks through its pipelines.
_ALSO_IMPORTED = {
    "skops": ("polars", "pytest"),
    "onnx": ("onnxruntime",),
    "prophet": ("zipp",),
    "transformers": ("scipy",),
}
_TRACED = ".pt2"  # reading a traced graph imports torch's compiler, and that other libraries and zipp


def requirements_of(model: Any, flavor: str, folder: Path) -> list[str]:
    """List what must be installed to load a model, such as ``["numpy==2.4.6", "scikit-learn==1.9.1"]``.

    Contains each package that ``mlflow.models.infer_pip_requirements`` finds, with the same pins.

    Args:
        model: The model itself: the code of its own class shows imports inside of functions.
        flavor: The MLflow module that saved it.
        folder: Where it was saved.
    """
    with looking():
        return _requirements_of(model, flavor, folder)


def _requirements_of(model: Any, flavor: str, folder: Path) -> list[str]:
    roots = {_LIBRARY.get(flavor, flavor), *modules_named_in(folder)}
    formats = {file.suffix for file in folder.rglob("*")}
    roots |= {_FORMAT_LIBRARY[suffix] for suffix in formats & _FORMAT_LIBRARY.keys()}
    if _TRACED in formats:
        roots.add("zipp")
    if flavor == "pyfunc":
        roots |= imports_in_class(type(model))
    roots |= {also for root in roots for also in _ALSO_IMPORTED.get(root, ())}
    needed = {_normal(name) for root in roots for name in distributions_of(root)}
    # A pickled module needs torch without its compiler, which may be loaded here all the same.
    alone = frozenset({"torch"}) if flavor == "pytorch" and _TRACED not in formats else frozenset[str]()
    found = {_normal(name) for module in reachable(roots, alone) for name in distributions_of(module)}
    kept = (needed | _without_dependencies(found | needed)) - {"setuptools", *_mlflow_itself()}
    return sorted(f"{name}=={_public_version(name)}" for name in kept)


def _mlflow_itself() -> set[str]:
    return {_normal(name) for name in distributions_of("mlflow")}


def _without_dependencies(names: set[str]) -> set[str]:
    """Drop what another name on the list brings along, except MLflow's own direct dependencies (as MLflow does)."""
    brought = {dependency for name in names for dependency in _all_dependencies(name)}
    return names - (brought - set(_dependencies("mlflow")))


def _all_dependencies(name: str) -> set[str]:
    reached: set[str] = set()
    waiting = list(_dependencies(name))
    while waiting:
        dependency = waiting.pop()
        if dependency not in reached:
            reached.add(dependency)
            waiting += _dependencies(dependency)
    return reached - {name}


@functools.cache
def _dependencies(name: str) -> tuple[str, ...]:
    return tuple(_read_dependencies(name))


def _read_dependencies(name: str) -> Iterator[str]:
    import importlib.metadata

    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _normal(requirement.name)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def _public_version(name: str) -> str:
    """Version without the local label: ``2.5.0+cpu`` cannot be installed from the package index."""
    import importlib.metadata

    return importlib.metadata.version(name).partition("+")[0]
