"""Has functions of another library do something else, and stay the same objects: whoever imported them has it too."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_originals: dict[str, Callable[..., Any]] = {}
_ours: dict[str, Callable[..., Any]] = {}


def take_over(function: types.FunctionType, ours: Callable[..., Any]) -> None:
    """Have a function call ours; its name, signature and documentation stay.

    Args:
        function: A plain function, known to this module by its name.
        ours: Called in its place, with what the function did and what it is called with.
    """
    name, shown = function.__name__, inspect.signature(function)
    copied = types.FunctionType(function.__code__, function.__globals__, name, function.__defaults__)
    copied.__kwdefaults__ = function.__kwdefaults__

    def taken_over(*args: Any, **kwargs: Any) -> Any:  # runs as that function: it can name nothing of this module
        from flowml.patches.in_place import call

        return call("name of the function", *args, **kwargs)

    code = taken_over.__code__
    constants = tuple(name if constant == "name of the function" else constant for constant in code.co_consts)
    _originals[name], _ours[name] = copied, ours
    function.__code__ = code.replace(co_consts=constants, co_name=name)
    function.__defaults__ = function.__kwdefaults__ = None
    function.__signature__ = shown  # type: ignore[attr-defined]


def call(name: str, *args: Any, **kwargs: Any) -> Any:
    """Do what takes the place of a function."""
    return _ours[name](_originals[name], *args, **kwargs)


def original(name: str) -> Callable[..., Any]:
    """Return what a function did before it was taken over."""
    return _originals[name]


def is_taken_over(name: str) -> bool:
    """Tell whether a function was taken over."""
    return name in _originals


@lru_cache(maxsize=16)
def signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return a function's signature, looked up once."""
    return inspect.signature(function)
