"""How the page of the Python API reads the source, beyond what mkdocstrings does by itself."""

from __future__ import annotations

import copy
from typing import Any

from griffe import Extension, Function, Module, Object, Parameters


class Shown(Extension):
    """Shows ``flow`` as the function that it is used as, and an example as code."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Call the section of examples what griffe calls it."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")

    def on_module(self, *, mod: Module, **_: Any) -> None:
        """Give the object ``flow``, which is an instance of a class, the signature of its calls."""
        if mod.path == "flowml.decorators":
            mod.set_member("flow", _named("flow", mod["FlowDecorator.__call__"]))


def _named(name: str, method: Function) -> Function:
    function = copy.copy(method)
    function.name = name
    function.parameters = _without_self(method.parameters)
    if method.overloads:
        function.overloads = [_named(name, overload) for overload in method.overloads]
    return function


def _without_self(parameters: Parameters) -> Parameters:
    return Parameters(*[parameter for parameter in parameters if parameter.name != "self"])
