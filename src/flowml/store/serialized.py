"""Reads which modules a serialized model refers to, without loading it."""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

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
