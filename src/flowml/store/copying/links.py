"""Old ids and their new ones, and texts in which the old ones stand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from flowml import mlflow_limits
from flowml.store.backend.mlflow_state import APART
from flowml.store.models.registry import TAG as REGISTERED

_ID = re.compile(r"(?<![0-9A-Za-z])(?:m-)?[0-9a-f]{32}(?![0-9A-Za-z])")
_EXPERIMENT = re.compile(r"(?<=#/experiments/)\d+")
_VERSION = re.compile(r"(#/models/)([^/\s]+)(/versions/)(\d+)")
_VERSIONS_OF_A_MODEL = "mlflow.modelVersions"
_PROMPTS = "mlflow.linkedPrompts"


@dataclass(slots=True)
class Links:
    """What has which id in the other store.

    Attributes:
        ids: Of runs and logged models.
        experiments: Of experiments.
        versions: Of the versions of registered models and prompts, by name and number.
        places: Where artifacts are, as MLflow writes it.
    """

    ids: dict[str, str] = field(default_factory=dict)
    experiments: dict[str, str] = field(default_factory=dict)
    versions: dict[tuple[str, str], str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)

    def rewritten(self, text: str) -> str:
        """Return a text with the new ids in the place of the old ones."""
        if "/artifacts" in text:
            for old, new in self.places.items():
                text = text.replace(old, new)
        text = _ID.sub(lambda found: self.ids.get(found[0], found[0]), text)
        if "#/" not in text:
            return text
        text = _EXPERIMENT.sub(lambda found: self.experiments.get(found[0], found[0]), text)
        return _VERSION.sub(self._version_page, text)

    def _version_page(self, found: re.Match[str]) -> str:
        name, number = unquote(found[2]), found[4]
        return f"{found[1]}{quote(name, safe='')}{found[3]}{self.versions.get((name, number), number)}"

    def of_tags(self, tags: Mapping[str, str]) -> dict[str, str]:
        """Return a run's or model's tags with the new ids, in the names of tags too."""
        told = {self.rewritten(key): self._value(key, value)[: mlflow_limits.TAG] for key, value in tags.items()}
        return {key: value for key, value in told.items() if (key, value) != (_PROMPTS, "[]")}

    def _value(self, key: str, value: str) -> str:
        with suppress(ValueError, TypeError, KeyError):  # it is somebody else's, or was cut
            if key == REGISTERED:
                rows = [[name, self._number(name, number), *rest] for name, number, *rest in json.loads(value)]
                return json.dumps(rows)
            if key == _PROMPTS:  # of those that are not copied the name may be somebody else's there
                prompts = [one for one in json.loads(value) if (one["name"], str(one["version"])) in self.versions]
                return json.dumps([{**one, "version": self._number(one["name"], one["version"])} for one in prompts])
            if key == _VERSIONS_OF_A_MODEL:
                made = [{**one, "version": self._number(one["name"], one["version"])} for one in json.loads(value)]
                return json.dumps(made)
        if key.startswith(APART):
            return self.experiments.get(value, value)
        return self.rewritten(value)

    def _number(self, name: str, number: str | int) -> str | int:
        """Return a version's new number, of the type that the old one had."""
        return type(number)(self.versions.get((name, str(number)), number))

    def known(self, ids: Iterable[str]) -> list[str]:
        """Return the new ids of those that have one."""
        return [self.ids[one] for one in ids if one in self.ids]
