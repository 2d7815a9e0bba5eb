"""Looks into a library's source without importing it, which takes seconds."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path


def find(module: str) -> ModuleSpec | None:
    """Find where a module is, importing neither it nor the packages that it is in.

    Returns:
        None if it is not installed, or in a way that only importing it can tell.
    """
    spec, inside = None, None
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:count]), inside)
        if spec is None:
            return None
        inside = spec.submodule_search_locations
    return spec


def binds(module: str, names: Sequence[str]) -> bool:
    """Tell whether a module's source binds a name, or a class in it does.

    Args:
        module: The module.
        names: The name, or those of a class and of what is in it.
    """
    spec = find(module)
    body = _body(spec.origin) if spec and spec.origin else ()
    for name in names:
        found = [one for one in _statements(body) if name in _bound(one)]
        if not found:
            return False
        body = getattr(found[-1], "body", ())
    return True


@lru_cache(maxsize=32)
def _body(path: str) -> Sequence[ast.stmt]:
    try:
        return ast.parse(Path(path).read_bytes()).body
    except (OSError, SyntaxError, ValueError):  # compiled, or written for another Python
        return ()


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for part in ("body", "handlers", "orelse", "finalbody"):
                yield from _statements(getattr(statement, part, ()))
        elif isinstance(statement, ast.ExceptHandler):
            yield from _statements(statement.body)


def _bound(statement: ast.AST) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from (each.asname or each.name.partition(".")[0] for each in names)
        case ast.Assign(targets=targets):
            yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
