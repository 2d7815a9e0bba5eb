"""Wraps methods of Prefect's classes: now, or when Prefect loads them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any

import wrapt


def wrap(wrappers: Mapping[str, Mapping[str, Any]]) -> None:
    """Wrap methods; those that this Prefect does not have are left out.

    Args:
        wrappers: By module, what wraps a method, by its name in the module: a function as `wrapt` takes it.
    """
    for module, methods in wrappers.items():
        wrapt.register_post_import_hook(partial(_wrap, methods), module)


def _wrap(methods: Mapping[str, Any], module: ModuleType) -> None:
    for name, wrapper in methods.items():
        with suppress(AttributeError):
            wrapt.wrap_function_wrapper(module, name, wrapper)
