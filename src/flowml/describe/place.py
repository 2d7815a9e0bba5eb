"""Where a value stands, and how much is hidden there: all that a describer is told about besides the value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from flowml import options, records
from flowml.describe.hints import marker_in
from flowml.describe.text import key_text
from flowml.secrets import is_secret_path
from flowml.storable import clean

DEEPEST = 8
"""Values inside values; what stands deeper is shown in short."""


class Hidden:
    """Counts the secrets that were masked in, or left out of, what one call logs.

    Args:
        call: Tells the call from others, whose records may go to the same run.
    """

    def __init__(self, call: str = "") -> None:
        self._call = call
        self._count = self._told = 0
        self._left_out: set[str] = set()

    def add(self, masked: int) -> None:
        """Count what was masked in texts."""
        self._count += masked

    def note(self, name: str) -> None:
        """Count what was left out under a name, which one description may come to more than once."""
        self._left_out.add(name)

    def records(self) -> list[records.Record]:
        """Tell how many there are, if there are more than when it was asked last."""
        self._count += len(self._left_out)
        self._left_out.clear()
        if self._count == self._told:
            return []
        self._told = self._count
        return [records.Hidden(self._call, self._count)]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, and what it is to be called.

    Attributes:
        name: Its full name: ``df``, ``config.optimizer.lr``, ``train.0``; that of its metric, dataset, model or file.
        role: ``"input"`` of a call or ``"output"``.
        task: The task's name, for outputs.
        marker: What the user's ``Annotated[...]`` says about it.
        annotation: Its annotation, where elements and fields look for markers of their own.
        inputs: What the call was given, by argument name.
        prefix: What the keys of its fields start with; empty where they are used as they are.
        returned: Whether it is the returned value itself, rather than a part of it.
        depth: How many values it stands inside.
        above: The ids of these values, to notice a circle.
        hidden: Counts the secrets that are hidden.
        beside: Whether many numbers here are a target: given as an argument, or beside a table.
        models: Which values are models: what can predict and what has a marker, or the latter only.
        model_params: Which hyper-parameters of models are parameters.
    """

    name: str
    role: records.Role
    task: str = ""
    marker: options.Marker | None = None
    annotation: Any = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    returned: bool = False
    depth: int = 0
    above: tuple[int, ...] = ()
    models: options.Models = "auto"
    model_params: options.ModelParams = "all"
    beside: bool = False
    hidden: Hidden | None = None

    @property
    def label(self) -> str:
        """What a parameter made of this value is called: its name, or ``return``."""
        return "return" if self.returned else self.name

    @property
    def is_secret(self) -> bool:
        """Whether there is a secret's word in its name, which hides what is text."""
        if self.returned:
            return False
        return _is_secret(self.name) if len(self.name) < _LONG else _is_secret.__wrapped__(self.name)

    @property
    def shows_empty(self) -> bool:
        """Whether a mapping or configuration without parts is told of: not when returned, unless it is a parameter."""
        return self.role == "input" or isinstance(self.marker, options.Param)

    def key(self, part: object) -> str:
        """Name a parameter or metric made of a part of this value."""
        text = key_text(part)
        return f"{self.prefix}.{text}" if self.prefix else text

    def path(self, suffix: str, folder: str = "") -> str:
        """Name an artifact made of this value.

        Args:
            suffix: The ending with its dot, such as ``".png"``; ignored when the user's marker names the file.
            folder: A folder among the artifacts.
        """
        chosen = self.chosen_path
        if chosen is not None:
            return chosen if PurePosixPath(chosen).suffix else chosen + suffix
        name = re.sub(r"[^\w.\- ]", "_", clean(self.name)).strip(". ") or "value"
        return f"{folder}/{name[:120]}{suffix}" if folder else f"{name[:120]}{suffix}"

    @property
    def chosen_path(self) -> str | None:
        """The artifact's path when the user's marker names one."""
        return self.marker.path if isinstance(self.marker, options.Artifact) else None

    def child(
        self, part: object, value: Any = None, *, annotation: Any = None, bare: bool = False, beside: bool = False
    ) -> Place:
        """Give the place of a part of this value: of a field, an element, an item.

        Args:
            part: The field's name or the element's position.
            value: This value (not the part): given, a circle back to it is noticed.
            annotation: The part's annotation, with its marker.
            bare: Whether the keys of the part's own fields are used as they are.
            beside: Whether the part stands beside a table.
        """
        marker = marker_in(annotation)
        inherited = _INHERITED.get(type(self.marker))
        chosen = getattr(marker, "name", None)
        name = chosen or self.key(part)
        return Place(
            name,
            self.role,
            self.task,
            marker or inherited,
            annotation,
            self.inputs,
            "" if bare and not chosen else name,
            returned=False,
            depth=self.depth + 1,
            above=self.above if value is None else (*self.above, id(value)),
            models=self.models,
            model_params=self.model_params,
            beside=beside,
            hidden=self.hidden,
        )

    def element(
        self, index: int, value: Any, *, annotation: Any = None, bare: bool = False, beside: bool = False
    ) -> Place:
        """Give the place of an element: ``<name>.<index>``, unless its marker names it."""
        above = replace(self, prefix=self.name)
        return above.child(index, value, annotation=annotation, bare=bare, beside=beside)


# "As a parameter" and "as metrics" hold for all that is in the value; the other markers are about the value itself.
_INHERITED: Mapping[type, options.Marker] = {options.Param: options.Param(), options.Metric: options.Metric()}


_LONG = 500  # characters of a name that is not worth keeping in mind


@lru_cache(maxsize=4096)
def _is_secret(name: str) -> bool:
    return is_secret_path(name)
