"""Writes a model in the skops format: once, and without indentation.

Only its file says which types a model holds, and MLflow would then write the file anew. And Python's writer of indented
JSON, in which skops describes the model, takes ten times as long as that of plain JSON: most of a forest's time.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from pathlib import Path
from typing import Any

from flowml.store.backend.imports import import_patiently

_here: ContextVar[_File | None] = ContextVar("flowml_skops_file", default=None)


class NotSkopsError(Exception):
    """The model cannot be saved in the skops format as it is.

    Attributes:
        reason: Why, and what the user can do, in one sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _File:
    """A model, and its file once that is written."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.path: Path | None = None


@contextmanager
def written(model: Any, path: Path) -> Iterator[Path]:
    """Write a model; inside, ``skops.io.dump`` of it copies the file.

    Args:
        model: The model.
        path: Where to; the file is removed afterwards.

    Yields:
        The file.

    Raises:
        NotSkopsError: If skops cannot write it.
    """
    skops: Any = import_patiently("skops.io")
    _install()
    token = _here.set(file := _File(model))
    try:
        try:
            skops.dump(model, path)
        except Exception as error:
            reason = f"skops cannot write it ({type(error).__name__}: {error})"
            raise NotSkopsError(reason) from error
        file.path = path
        yield path
    finally:
        _here.reset(token)
        path.unlink(missing_ok=True)


@cache
def _install() -> None:
    """Stand before skops' writer; what others than flowml have it write is written as ever."""
    import skops.io

    copying = _copying(skops.io.dump)
    here = sys.modules.get(copying.__module__)
    if getattr(here, copying.__name__, None) is skops.io.dump:  # a pickle of it names it there
        setattr(here, copying.__name__, copying)
        skops.io.dump = copying
    if getattr(here, "json", None) is json:
        here.json = _Json()  # type: ignore[union-attr]


def _copying(dump: Callable[..., None]) -> Callable[..., None]:
    @wraps(dump)
    def dump_or_copy(obj: Any, file: Any, **options: Any) -> None:
        here = _here.get()
        if here is None or here.path is None or here.model is not obj or options or not isinstance(file, str | Path):
            dump(obj, file, **options)
        else:
            shutil.copyfile(here.path, file)

    return dump_or_copy


class _Json:
    """The module json as skops' writer sees it."""

    def dumps(self, value: Any, **options: Any) -> str:
        """Write a value; without indentation where flowml saves a model."""
        if _here.get():
            options.pop("indent", None)
        return json.dumps(value, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(json, name)
