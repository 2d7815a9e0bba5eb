"""Makes parameters out of words: ``--param n=3``, each by the type that the flow declares."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowml.capture.engine.attempt import hints_of
from flowml.errors import nearest_or_some

if TYPE_CHECKING:
    import prefect

_NAMED = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


def read(file: Path) -> dict[str, Any]:
    """Read parameters out of a file, which holds them as a JSON object.

    Raises:
        LookupError: If it does not.
    """
    try:
        values = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        msg = f"--parameters cannot be {str(file)!r}: it is a file with a JSON object, and {error}."
        raise LookupError(msg) from None
    if not isinstance(values, dict):
        msg = f"--parameters cannot be {str(file)!r}: it holds a {type(values).__name__}, and not a JSON object."
        raise LookupError(msg)  # noqa: TRY004 - what was typed is wrong, as everywhere in here
    return values


def parameters(
    flow: prefect.Flow[Any, Any], words: Iterable[str], given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Make a flow's parameters.

    Args:
        flow: The flow.
        words: Each as ``name=value``: text of the declared type, or JSON.
        given: Others, which are values already; those that are typed count more.

    Raises:
        LookupError: If one is unknown, missing, given twice, or cannot be of its type.
    """
    declared = inspect.signature(flow.fn).parameters
    names = [name for name, one in declared.items() if one.kind in _NAMED]
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in declared.values())
    hints, values = hints_of(flow.fn), dict(given or {})
    typed_words = split(words, example=names[0] if names else "n")
    for name in [*values, *typed_words]:
        if name not in names and not takes_any:
            hint = nearest_or_some(name, names) if names else "It has none."
            msg = f"The flow {flow.name!r} has no parameter {name!r}. {hint}"
            raise LookupError(msg)
    values |= {name: typed(name, text, hints.get(name, Any)) for name, text in typed_words.items()}
    missing = [name for name in names if declared[name].default is inspect.Parameter.empty and name not in values]
    if missing:
        wanted = " ".join(f"--param {name}=..." for name in missing)
        msg = f"The flow {flow.name!r} needs {', '.join(map(repr, missing))}: {wanted}"
        raise LookupError(msg)
    _check(flow, values)
    return values


def split(words: Iterable[str], *, example: str) -> dict[str, str]:
    """Split parameters that are typed as ``name=value``.

    Args:
        words: The parameters.
        example: A name for the message about one that cannot be.

    Raises:
        LookupError: If one is not of that form, or given twice.

    Example:
        >>> split(["rows=10", "query=a=b"], example="rows")
        {'rows': '10', 'query': 'a=b'}
    """
    texts: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            msg = f"--param cannot be {word!r}: it is a name and a value, as in --param {example}=3."
            raise LookupError(msg)
        if name in texts:
            msg = f"The parameter {name!r} is given twice."
            raise LookupError(msg)
        texts[name] = text
    return texts


def readings(text: str, *, is_free: bool) -> list[Any]:
    """Return what a typed value may mean, in the order to be tried: the text itself, and what it is as JSON.

    Args:
        text: What was typed.
        is_free: Whether the parameter takes anything; JSON comes first then.
    """
    try:
        as_json = [json.loads(text)]
    except ValueError:
        return [text]
    return [*as_json, text] if is_free or text == "null" else [text, *as_json]


def typed(name: str, text: str, hint: Any) -> Any:
    """Make a parameter out of what was typed for it.

    Args:
        name: Its name.
        text: Text of the declared type, or JSON.
        hint: The declared type.

    Raises:
        LookupError: If it cannot be of that type.
    """
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:
        adapter = TypeAdapter(hint)  # the type brings a configuration of its own
    problem = ""
    for reading in readings(text, is_free=hint is Any):
        try:
            return adapter.validate_python(reading)
        except ValidationError as error:
            first = error.errors()[0]
            problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    msg = f"The parameter {name!r} cannot be {text!r}: {problem}."
    raise LookupError(msg)


def _check(flow: prefect.Flow[Any, Any], values: Mapping[str, Any]) -> None:
    """Let the flow itself look at all of them together, as it will when it is called."""
    from prefect.exceptions import ParameterTypeError

    if flow.should_validate_parameters:
        try:
            flow.validate_parameters(dict(values))
        except ParameterTypeError as error:
            msg = f"The flow {flow.name!r} does not take these parameters: {error}"
            raise LookupError(msg) from None
