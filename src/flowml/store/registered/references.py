"""How a version of a registered model is named: ``churn@champion``, ``churn/7``, ``models:/churn/7``, or a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from flowml.errors import RegistryError, did_you_mean, listed, nearest_or_some
from flowml.store.ledger.prompts import SCHEME, bare, client_of, is_prompt

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities.model_registry import ModelVersion

_MODELS = "models:/"
_MISSING = "RESOURCE_DOES_NOT_EXIST"
_SHOWN = 10  # names that a message lists
_FORMS = "Write 'churn@champion', 'churn/7', 'models:/churn@champion' or ('churn', 7)."
_PROMPT_FORMS = "Write 'prompts:/summarize@production' or 'prompts:/summarize/3'."


class NoSuchVersionError(RegistryError):
    """There is no such registered model, version or alias."""


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A version of a registered model, as somebody names it.

    Attributes:
        model: The registered model's name; of a prompt ``prompts:/<name>``.
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
        return str(self) if self.is_prompt else f"{_MODELS}{self}"

    @property
    def is_prompt(self) -> bool:
        """Whether it is a version of a prompt."""
        return is_prompt(self.model)


Reference: TypeAlias = "ModelRef | str | tuple[str, int | str]"
"""What names a version where one is asked for."""


def parse(reference: Reference) -> ModelRef:
    """Read what names a version.

    Args:
        reference: ``"churn@champion"``, ``"churn/7"``, either after ``models:/``, ``("churn", 7)``, or a `ModelRef`; of
            a prompt ``"prompts:/summarize@production"``, ``"prompts:/summarize/3"``.

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
    text = reference.strip()
    scheme = SCHEME if is_prompt(text) else ""
    name = text.removeprefix(_MODELS).removeprefix(SCHEME).strip("/")
    model, at, alias = name.rpartition("@")
    if at and model and alias and "/" not in name:
        return ModelRef(f"{scheme}{model}", alias=alias)
    model, slash, version = name.rpartition("/")
    if slash and not at and model and "/" not in model and _is_number(version):
        return ModelRef(f"{scheme}{model}", version=str(int(version)))
    kind, forms = ("prompt", _PROMPT_FORMS) if scheme else ("model", _FORMS)
    msg = f"{reference!r} names no version of a {kind}: {_fault(name, kind)} {forms}"
    raise RegistryError(msg)


def parse_prompt(reference: Reference) -> ModelRef:
    """Read what names a version of a prompt, where only that can be meant.

    Args:
        reference: ``"summarize@production"``, ``"summarize/3"``, either after ``prompts:/``, or ``("summarize", 3)``.

    Raises:
        RegistryError: If it names none.
    """
    if isinstance(reference, tuple) and reference and isinstance(reference[0], str):
        name, *number = reference
        return parse((f"{SCHEME}{bare(str(name))}", *number))  # type: ignore[arg-type] # what is no pair is refused
    text = str(reference) if isinstance(reference, ModelRef) else reference
    if not isinstance(text, str):
        msg = f"{reference!r} names no version of a prompt. {_PROMPT_FORMS}"
        raise RegistryError(msg)
    return parse(text if is_prompt(text.strip()) else f"{SCHEME}{text.strip()}")


def target(model: Any, version: Any = None) -> tuple[str, str | int | None]:
    """Read what is decided about: a model's name and a version, one text that names both, or a version itself.

    Args:
        model: ``"churn"``, ``"prompts:/summarize"``, ``"prompts:/summarize/3"``, or a version that MLflow returned.
        version: The version's number, if the first does not say it.

    Returns:
        The name, and the version as it was given; None if an alias names it.

    Raises:
        RegistryError: If no version is named.
    """
    if isinstance(model, str) and version is not None:
        return model, version
    if isinstance(model, str | ModelRef):
        ref = parse(model)
        return ref.model, ref.version
    name, number = getattr(model, "name", None), getattr(model, "version", None)
    if name is None or number is None:
        msg = f"{model!r} names no version. {_FORMS} Of a prompt: {_PROMPT_FORMS}"
        raise RegistryError(msg)
    is_of_prompt = str(getattr(model, "uri", "")).startswith(SCHEME)
    return f"{SCHEME}{name}" if is_of_prompt else str(name), str(number)


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
    client = client_of(client, ref.model)
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

    client, name = client_of(client, model), bare(model)
    if not name or "/" in name or ":" in name:
        known = [each.name for each in client.search_registered_models()]
        wrong = "it is empty" if not name else "MLflow takes none with / or :"
        kind = "prompt" if is_prompt(model) else "registered model"
        msg = f"{name!r} is no {kind}'s name: {wrong}. {nearest_or_some(name, known)}"
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
        kind = "prompt" if ref.is_prompt else "registered model"
        hint = nearest_or_some(bare(ref.model), known) or f"No {kind.rsplit(maxsplit=1)[-1]} is registered yet."
        return NoSuchVersionError(f"There is no {kind} {bare(ref.model)!r}. {hint}")
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


def _fault(name: str, kind: str) -> str:
    """Say why a text names no version."""
    if not name:
        return "it is empty."
    if name.endswith("@"):
        return "no alias follows the @."
    if name.startswith("@"):
        return f"no {kind} stands before the @."
    if "@" in name:
        return f"a {kind}'s name holds no / and is followed by an alias or a version, not both."
    if "/" not in name:
        return f"it is a {kind}'s name without an alias or a version."
    version = name.rpartition("/")[2]
    return f"a {kind}'s name holds no /." if _is_number(version) else f"{version!r} is no number of a version."


def _quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"
