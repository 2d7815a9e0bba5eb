"""The form that a person fills in who approves a version, or refuses it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pydantic
from prefect.input import RunInput
from pydantic import Field, field_validator

from flowml.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping

_BLANK: Mapping[str, Any] = {"approve": False, "why": "", "who": ""}
_MOST_WHY = 2000  # a decision has to fit into one parameter of MLflow's
_MOST_WHO = 200
_MOST = 4000  # characters of all that is filled in


class ReleaseForm(RunInput):
    """What is asked of whoever approves a version; a form of your own is a subclass with more fields.

    Attributes:
        approve: Whether the version may be released.
        why: Their reason.
        who: Their name.

    Example:
        >>> class Checked(ReleaseForm):
        ...     ticket: str = Field(pattern="[A-Z]+-[0-9]+")
    """

    approve: bool = Field(title="Approve", description="Off refuses the version.")
    why: str = Field(title="Why", min_length=1, max_length=_MOST_WHY)
    who: str = Field(title="Your name", min_length=1, max_length=_MOST_WHO)

    @field_validator("why", "who")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            msg = "is empty"
            raise ValueError(msg)
        return value.strip()


def check(form: Any) -> None:
    """Make sure that a form can be asked with.

    Raises:
        RegistryError: If it is no subclass of `ReleaseForm`.
    """
    if not (isinstance(form, type) and issubclass(form, ReleaseForm)):
        msg = f"form={form!r} is no form of an approval. Write a subclass of flowml.ReleaseForm, and pass the class."
        raise RegistryError(msg)


def required(form: type[ReleaseForm]) -> list[str]:
    """Return the names of the fields that an answer must have."""
    return [name for name, field in form.model_fields.items() if field.is_required()]


def blank(form: type[ReleaseForm], description: str) -> type[ReleaseForm]:
    """Return the form as it is shown, with a text above it, and nothing that Prefect requires.

    Prefect resumes a flow without an answer when its time is up, and does so only where the form allows that. What is
    required is checked when the answer is read.
    """
    changed: dict[str, Any] = {}
    for name in required(form):
        field = copy.copy(form.model_fields[name])
        field.default = _BLANK.get(name)
        kind = field.annotation if name in _BLANK else field.annotation | None  # type: ignore[operator]
        changed[name] = (kind, field)
    shown = pydantic.create_model(form.__name__, __base__=form, **changed)
    return shown.with_initial_data(description=description)


def accepted(form: type[ReleaseForm], given: Mapping[str, Any]) -> ReleaseForm:
    """Read an answer.

    Raises:
        ValidationError: If the form does not accept it.
    """
    answer = form(**given)
    if len(answer.model_dump_json()) > _MOST:
        wrong: Any = {"type": "value_error", "loc": (), "input": None, "ctx": {"error": ValueError("is too long")}}
        raise pydantic.ValidationError.from_exception_data(form.__name__, [wrong])
    return answer


def problems(error: pydantic.ValidationError) -> str:
    """Say what is wrong with an answer, a field at a time."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc'])) or 'the answer'}: {each['msg'].removeprefix('Value error, ')}"
        for each in error.errors(include_url=False)
    )
