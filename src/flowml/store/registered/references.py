"""How a version of a registered model is named: ``churn@champion``, ``churn/7``, ``models:/churn/7``, or a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from flowml.errors import RegistryError, did_you_mean, listed, nearest_or_some

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities.model_registry import ModelVersion

_SCHEME = "models:/"
_MISSING = "RESOURCE_DOES_NOT_EXIST"
_SHOWN = 10  # names that a message lists
_FORMS = "Write 'churn@champion', 'churn/7', 'models:/churn@champion' or ('churn', 7)."


class NoSuchVersionError(RegistryError):
    """There is no such registered model, version or alias."""


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A version of a registered model, as somebody names it.

    Attributes:
        model: The registered model's name.
        version: The version's number; None if an alias names it.
        alias: The alias that the version has; None if a number names it.
    """

    model: str
    version: str | None = None
    alias: str | None = None

    def __post_init__(self) -> None:
        if not self.model or (self.version is None) == (self.alias is None):
            msg = f"{self!r} names a model and either a version or an alias."
            raise RegistryError(msg)

    def __str__(self) -> str:
        return f"{self.model}@{self.alias}" if self.alias is not None else f"{self.model}/{self.version}"

    @property
    def uri(self) -> str:
        """The address that MLflow's own functions take."""
        return f"{_SCHEME}{self}"


Reference: TypeAlias = "ModelRef | str | tuple[str, int | str]"
"""What names a version where one is asked for."""


def parse(reference: Reference) -> ModelRef:
    """Read what names a version.

    Args:
        reference: ``"churn@champion"``, ``"churn/7"``, either after ``models:/``, ``("churn", 7)``, or a `ModelRef`.

    Raises:
        RegistryError: If it names none.
    """
    if isinstance(reference, ModelRef):
        return reference
    if isinstance(reference, tuple):
        return _of_pair(reference)
    if not isinstance(reference, str):
        msg = f"{reference!r} names no version of a model. {_FORMS}"
        raise RegistryError(msg)
    name = reference.strip().removeprefix(_SCHEME).strip("/")
    model, at, alias = name.rpartition("@")
    if at and model and alias and "/" not in name:
        return ModelRef(model, alias=alias)
    model, slash, version = name.rpartition("/")
    if slash and not at and model and "/" not in model and _is_number(version):
        return ModelRef(model, version=str(int(version)))
    msg = f"{reference!r} names no version of a model: {_fault(name)} {_FORMS}"
    raise RegistryError(msg)


def find(client: mlflow.MlflowClient, reference: Reference) -> ModelVersion:
    """Ask MLflow for a version.

    Args:
        client: MLflow's client for the registry.
        reference: What names the version.

    Raises:
        NoSuchVersionError: If there is none, with the nearest that there is.
        RegistryError: If the reference names none.
        Exception: What MLflow raises if it cannot be asked.
    """
    from mlflow.exceptions import MlflowException

    ref = parse(reference)
    try:
        if ref.alias is not None:
            return client.get_model_version_by_alias(ref.model, ref.alias)
        return client.get_model_version(ref.model, str(ref.version))
    except MlflowException as error:
        raise _missing(client, ref) or error from None


def check_model(client: mlflow.MlflowClient, model: str) -> None:
    """Check that there is a registered model.

    Raises:
        NoSuchVersionError: If there is none, with the nearest that there is.
    """
    from mlflow.exceptions import MlflowException

    if not model or "/" in model or ":" in model:
        known = [each.name for each in client.search_registered_models()]
        wrong = "it is empty" if not model else "MLflow takes none with / or :"
        msg = f"{model!r} is no registered model's name: {wrong}. {nearest_or_some(model, known)}"
        raise NoSuchVersionError(msg.rstrip())
    try:
        client.get_registered_model(model)
    except MlflowException as error:
        raise _missing(client, ModelRef(model, version="1")) or error from None


def _missing(client: mlflow.MlflowClient, ref: ModelRef) -> NoSuchVersionError | None:
    """Say what is not there of a version that MLflow does not give; None if it is there, and the fault is another."""
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_registered_model(ref.model)
    except MlflowException as error:
        if error.error_code != _MISSING:
            return None
        known = [each.name for each in client.search_registered_models()]
        hint = nearest_or_some(ref.model, known) or "No model is registered yet."
        return NoSuchVersionError(f"There is no registered model {ref.model!r}. {hint}")
    if ref.alias is not None:
        if ref.alias in model.aliases:
            return None
        hint = did_you_mean(ref.alias, model.aliases) or f"Its aliases: {listed(model.aliases)}."
        return NoSuchVersionError(f"{ref.model} has no alias {ref.alias!r}. {hint}")
    found = client.search_model_versions(f"name = {_quoted(ref.model)}", max_results=_SHOWN)
    versions = [str(each.version) for each in found]
    if ref.version in versions:
        return None
    hint = f"Its last versions: {', '.join(versions)}." if versions else "It has no version yet."
    return NoSuchVersionError(f"{ref.model} has no version {ref.version}. {hint}")


def _of_pair(pair: tuple[object, ...]) -> ModelRef:
    if len(pair) == 2:  # noqa: PLR2004 - a pair
        model, version = pair
        is_version = isinstance(version, int | str) and not isinstance(version, bool) and _is_number(str(version))
        if isinstance(model, str) and model and is_version:
            return ModelRef(model, version=str(int(str(version))))
    msg = f"{pair!r} names no version of a model: a pair is a name and a number. {_FORMS}"
    raise RegistryError(msg)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def _fault(name: str) -> str:
    """Say why a text names no version."""
    if not name:
        return "it is empty."
    if name.endswith("@"):
        return "no alias follows the @."
    if name.startswith("@"):
        return "no model stands before the @."
    if "@" in name:
        return "a model's name holds no / and is followed by an alias or a version, not both."
    if "/" not in name:
        return "it is a model's name without an alias or a version."
    version = name.rpartition("/")[2]
    return "a model's name holds no /." if _is_number(version) else f"{version!r} is no number of a version."


def _quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"
