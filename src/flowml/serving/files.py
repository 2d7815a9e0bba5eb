"""The files of the versions that are served, on this machine's disk: a worker that starts anew needs no MLflow."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from flowml import settings
from flowml.store.models.flavors import mlflow_muted
from flowml.store.registered import ModelRef

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from flowml.store.backend.connection import Connection

_KEPT = 6  # versions of one model: some workers may still answer by the ones before
_PATIENCE = 600.0  # seconds that another worker may take to bring the same files


@dataclass(frozen=True, slots=True)
class Fetched:
    """A version whose files are here.

    Attributes:
        model: The registered model's name.
        version: The version's number.
        model_id: The logged model that it was made of; empty if it was made of something else.
        created: When the version was made, in milliseconds since 1970: a number is given again after a deletion.
        folder: Where its files are.
    """

    model: str
    version: str
    model_id: str
    created: int
    folder: Path

    def __str__(self) -> str:
        return f"{self.model} version {self.version}"

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from the model's other versions."""
        return self.version, self.created


class Files:
    """The files of one registered model's versions.

    Args:
        connection: The store that they are in.
        ref: What is served.
    """

    def __init__(self, connection: Connection, ref: ModelRef) -> None:
        self.connection = connection
        self.ref = ref
        self.folder = folder_of(connection, ref.model)

    def fetch(self, version: ModelVersion) -> Fetched:
        """Bring the files of a version here, unless they are; several workers may ask at once.

        Raises:
            Exception: Whatever MLflow raises.
        """
        from mlflow.artifacts import download_artifacts

        number, created = key_of(version)
        place = self.folder / f"{number}-{created}"
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f"{place.name}.lock", timeout=_PATIENCE):
            if not place.is_dir():
                draft = place.with_name(f"{place.name}.draft")
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir()
                uri = f"models:/{version.name}/{number}"
                with mlflow_muted():
                    found = download_artifacts(uri, dst_path=str(draft), tracking_uri=self.connection.uri)
                Path(found).rename(place)
                shutil.rmtree(draft, ignore_errors=True)
        os.utime(place)
        return Fetched(str(version.name), number, _model_id(place), created, place)

    def note_last(self, fetched: Fetched) -> None:
        """Note which version answers, and remove the files of those that have not for long."""
        place = self._last  # of the workers that note it at once, the last one is right
        draft = place.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({**asdict(fetched), "folder": fetched.folder.name, "ref": str(self.ref)}), "utf-8")
        draft.replace(place)
        known = [one for one in self.folder.iterdir() if re.fullmatch(r"\d+-\d+", one.name) and one.is_dir()]
        for old in sorted(known, key=lambda one: one.stat().st_mtime)[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
            old.with_name(f"{old.name}.lock").unlink(missing_ok=True)

    @property
    def _last(self) -> Path:
        return self.folder / f"last-{re.sub(r'[^A-Za-z0-9_.-]+', '-', str(self.ref.alias or self.ref.version))}.json"

    def last(self) -> Fetched | None:
        """Return the version that answered last; None if none did, or its files are gone."""
        with suppress(OSError, ValueError, KeyError):
            told = json.loads(self._last.read_text("utf-8"))
            place = self.folder / told["folder"]
            if told["ref"] == str(self.ref) and place.is_dir():
                return Fetched(told["model"], told["version"], told["model_id"], told["created"], place)
        return None


def folder_of(connection: Connection, model: str) -> Path:
    """Return the folder of what this project keeps of a registered model's versions and requests."""
    store = hashlib.sha256(f"{connection.registry_uri or connection.uri}\n{model}".encode()).hexdigest()[:12]
    name = re.sub(r"[^\w.-]+", "-", model)[:60]
    return settings.home_folder() / "serving" / f"{name}-{store}"


def key_of(version: ModelVersion) -> tuple[str, int]:
    """Return what tells a version from the model's other versions."""
    return str(version.version), int(version.creation_timestamp or 0)


def _model_id(folder: Path) -> str:
    from mlflow.models import Model

    return str(Model.load(str(folder)).model_id or "")
