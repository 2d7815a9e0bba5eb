"""Wraps functions and methods of other libraries: now, or when they are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any

import wrapt

from flowml.patches.private import PrivateName


def wrap(wrappers: Mapping[str, Mapping[str, Any]], *, use: str, without: str) -> None:
    """Wrap functions and methods; one that the installed library does not have is missed with one warning.

    Args:
        wrappers: By module, what wraps a function or method, by its name in the module, as `wrapt` takes it.
        use: What flowml does by it.
        without: What the user loses where one is not there.
    """
    for module, methods in wrappers.items():
        wrapt.register_post_import_hook(partial(_wrap, methods, use, without), module)


def _wrap(methods: Mapping[str, Any], use: str, without: str, module: ModuleType) -> None:
    for name, wrapper in methods.items():
        try:
            wrapt.wrap_function_wrapper(module, name, wrapper)
        except AttributeError:
            PrivateName(module.__name__, name, use, without).miss()
