"""The two models of a gate: which are meant, and where they come from."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flowml.errors import RegistryError
from flowml.store.models.flavors import mlflow_muted
from flowml.store.models.identity import digest_of, unchanged_or_new
from flowml.store.registered.references import ModelRef, NoSuchVersionError, find, parse

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature
    from typing_extensions import Self

    from flowml.store.backend.connection import Connection

_SCHEME = "models:/"
_LOGGED = "m-"  # what the id of a logged model begins with
_VERSIONS = "mlflow.modelVersions"  # the tag of a logged model with the versions made from it
_FORMS = (
    "Give the model itself, a version such as 'churn/7', 'churn@challenger' or 7, or a logged model such as "
    "'models:/m-…'."
)


@dataclass(frozen=True, slots=True)
class Contender:
    """A model that is compared.

    Attributes:
        model: The model: it has ``predict``.
        whose: What it is called in messages.
        name: The registered model that it is a version of, if it was named by that.
        version: Its version.
        model_id: The logged model's id, if it is logged.
        digest: Its digest, if the model itself was given.
        signature: What MLflow knows of its columns.
    """

    model: Any
    whose: str
    name: str | None = None
    version: str | None = None
    model_id: str | None = None
    digest: str | None = None
    signature: ModelSignature | None = None

    def called(self, model: str | None) -> str | None:
        """Return its version, if it is one of that registered model, or else the logged model's id."""
        return self.version if self.version and self.name == model else self.model_id


class Arena:
    """Finds and loads models; the files that they were loaded from stay until it is left.

    Args:
        connection: The store where runs and registered models are.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client = connection.client
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def candidate(self, given: Any, model: str | None) -> Contender:
        """Find the candidate.

        Args:
            given: What names it, or the model itself.
            model: The registered model of the champion, which a number alone is a version of; None if there is none.

        Raises:
            RegistryError: If there is no such model, or it cannot be loaded.
        """
        if isinstance(given, int) and not isinstance(given, bool):
            given = str(given)
        if isinstance(given, str) and given.isdigit():
            if model is None:
                msg = f"candidate={given!r} is a version of which model? {_FORMS}"
                raise RegistryError(msg)
            given = ModelRef(model, version=given)
        found = self._found("candidate", given)
        if model and found.model_id and found.name != model and (version := self._version_of(found.model_id, model)):
            return replace(found, name=model, version=version)
        return found

    def champion(self, given: Any) -> tuple[Contender | None, str]:
        """Find the champion.

        Returns:
            The champion; without one, why there is none.

        Raises:
            RegistryError: If it cannot be loaded, or what names it names nothing.
        """
        if given is None:
            return None, "there is nothing to compare with: no against= was given"
        try:
            return self._found("champion", given), ""
        except NoSuchVersionError as error:
            if parse(given).alias is None:
                raise
            return None, f"there is no champion yet: {str(error).rstrip('.')}"

    def _found(self, role: str, given: Any) -> Contender:
        if isinstance(given, str) and given.removeprefix(_SCHEME).startswith(_LOGGED):
            return self._logged(role, given.removeprefix(_SCHEME))
        if isinstance(given, str | tuple | ModelRef):
            return self._registered(role, find(self._client, given))
        if callable(getattr(given, "predict", None)):
            return self._given(role, given)
        name, version = getattr(given, "name", None), getattr(given, "version", None)
        if isinstance(name, str) and isinstance(version, str | int) and str(version).isdigit():
            return self._registered(role, find(self._client, ModelRef(name, version=str(version))))
        model_id = getattr(given, "model_id", None)
        if isinstance(model_id, str):
            return self._logged(role, model_id)
        msg = f"The {role} {given!r:.80} has no predict(). {_FORMS}"
        raise RegistryError(msg)

    def _registered(self, role: str, version: ModelVersion) -> Contender:
        number = str(version.version)
        loaded = self._loaded(f"{role} {version.name}/{number}", f"{_SCHEME}{version.name}/{number}")
        return replace(
            loaded,
            name=str(version.name),
            version=number,
            model_id=getattr(version, "model_id", None) or loaded.model_id,
        )

    def _logged(self, role: str, model_id: str) -> Contender:
        from mlflow.exceptions import MlflowException

        try:
            tags = self._client.get_logged_model(model_id).tags
        except MlflowException as error:
            msg = f"There is no logged model {model_id!r} for the {role}: {error}"
            raise RegistryError(msg) from None
        loaded = replace(self._loaded(f"{role} {model_id}", f"{_SCHEME}{model_id}"), model_id=model_id)
        versions = _versions(tags)
        return replace(loaded, name=versions[0][0], version=versions[0][1]) if len(versions) == 1 else loaded

    def _given(self, role: str, model: Any) -> Contender:
        """Take the model itself; it may be logged."""
        loaded_id = getattr(model, "model_id", None)
        metadata = getattr(model, "metadata", None)
        signature = getattr(metadata, "signature", None)
        if isinstance(loaded_id, str):
            return Contender(_native(model), f"the {role}", model_id=loaded_id, signature=signature)
        known = unchanged_or_new(model).ids.get(self._client.tracking_uri)
        return Contender(_native(model), f"the {role}", model_id=known, digest=digest_of(model), signature=signature)

    def _loaded(self, whose: str, uri: str) -> Contender:
        import mlflow

        try:
            place = self._place_of(uri.removeprefix(_SCHEME))
            is_here = urlsplit(place).scheme in {"", "file"}
            folder = None if is_here else self._stack.enter_context(TemporaryDirectory(prefix="flowml-gate-"))
            with mlflow_muted():
                path = mlflow.artifacts.download_artifacts(place, dst_path=folder, tracking_uri=self._connection.uri)
                model = mlflow.pyfunc.load_model(path)
        except Exception as error:
            msg = (
                f"The {whose} cannot be loaded: {type(error).__name__}: {error} A model that nobody can ask passes "
                f"nothing, and nothing was decided. Install what it needs (`mlflow.pyfunc.get_model_dependencies("
                f"{uri!r})` says what), restore its files, or give a model that you have loaded yourself."
            )
            raise RegistryError(msg) from error
        return Contender(
            _native(model), f"the {whose}", model_id=model.metadata.model_id, signature=model.metadata.signature
        )

    def _place_of(self, name: str) -> str:
        """Return where the files of a version or a logged model are: MLflow's own address may mean another store."""
        if not name.startswith(_LOGGED):
            place = str(self._client.get_model_version_download_uri(*name.rsplit("/", 1)))
            if not place.startswith(_SCHEME):
                return place
            name = place.removeprefix(_SCHEME)
        return str(self._client.get_logged_model(name).artifact_location)

    def _version_of(self, model_id: str, model: str) -> str | None:
        mine = [version for name, version in _versions(self._client.get_logged_model(model_id).tags) if name == model]
        return mine[-1] if mine else None


def _native(model: Any) -> Any:
    """Return what MLflow's pyfunc model wraps where that is an estimator, which tells probabilities too."""
    try:
        raw = model.get_raw_model()
    except Exception:  # noqa: BLE001 - it is no pyfunc model, or wraps nothing that could be had
        return model
    return raw if callable(getattr(raw, "predict", None)) and callable(getattr(raw, "fit", None)) else model


def _versions(tags: dict[str, str]) -> list[tuple[str, str]]:
    """Return the versions that were made from a logged model, by its tags."""
    try:
        return [(str(each["name"]), str(each["version"])) for each in json.loads(tags.get(_VERSIONS, "[]"))]
    except (TypeError, ValueError, KeyError):  # somebody else's
        return []
