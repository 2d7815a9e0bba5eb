"""A private name of another library: found where it is; missed with one warning, or without a word on an object."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from typing import Any

from flowml.patches import in_source

_logger = logging.getLogger("prefect.flowml")
_missed: set[PrivateName] = set()


@dataclass(frozen=True, slots=True)
class PrivateName:
    """A name that its library may change without notice.

    Attributes:
        module: The module that has it, or its class.
        name: The name there, such as ``_active_run_stack`` or ``ContextModel._token``.
        use: What flowml does with it.
        without: What the user loses where it is not there.
        on_instances: Whether only instances of a class have it, not the class.
    """

    module: str
    name: str
    use: str
    without: str
    on_instances: bool = False

    def get(self) -> Any:
        """Return what it names; None, and one warning, if it is not there."""
        found: Any = None
        try:
            found = importlib.import_module(self.module)
            for part in self.name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError):
            self.miss()
            return None
        return found

    def of(self, value: object) -> Any:
        """Return the attribute of this name of an object; None, and no warning, if it has none: it may not be set."""
        return getattr(value, self.name.rpartition(".")[2], None)

    def replace_on(self, owner: object, value: object) -> None:
        """Put something else in its place on an object; nothing, if the object has none."""
        name = self.name.rpartition(".")[2]
        if hasattr(owner, name):
            setattr(owner, name, value)

    def replace(self, value: object) -> None:
        """Put something else in its place."""
        setattr(importlib.import_module(self.module), self.name, value)

    def miss(self) -> None:
        """Say, once, what is lost because it is not there."""
        if self not in _missed:
            _missed.add(self)
            _logger.warning(
                "flowml: this version of %s has no %s: %s. `flowml doctor` lists what flowml needs of it.",
                self.module.partition(".")[0],
                f"{self.module}.{self.name}",
                self.without,
            )

    def is_there(self) -> bool:
        """Tell whether the installed library has it; of what only instances have, whether it has the class.

        The library is imported only where its source does not show the name.
        """
        return self.is_written() or self._is_bound()

    def is_written(self) -> bool:
        """Tell whether the library's source shows it."""
        return in_source.binds(self.module, self._path)

    @property
    def _path(self) -> list[str]:
        path = self.name.split(".")
        return path[:-1] if self.on_instances else path

    def _is_bound(self) -> bool:
        try:
            found: Any = importlib.import_module(self.module)
            for part in self._path:
                found = getattr(found, part)
        except (ImportError, AttributeError):
            return False
        return True
