"""The parameters that a deployment or a run is given: whether they fit the flow."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flowml.errors import DeploymentError, listed, nearest
from flowml.ops.launch.parameters import readings, split

if TYPE_CHECKING:
    import prefect
    from prefect.utilities.callables import ParameterSchema

Schema = Mapping[str, Any]
_LIMITS = {"type", "anyOf", "allOf", "oneOf", "enum", "const", "$ref"}  # any of them in a parameter's schema limits it


def schema_of(flow: prefect.Flow[..., Any]) -> Schema:
    """Return what a flow takes, in the form that Prefect's API keeps."""
    schema: Schema = form_of(flow).model_dump()
    return schema


def form_of(flow: prefect.Flow[..., Any]) -> ParameterSchema:
    """Return the same as Prefect's object, in which ``*args`` is a list and ``**kwargs`` a mapping; none is needed.

    Prefect itself takes them for parameters of their annotated types that must be given.
    """
    from prefect.utilities.callables import parameter_schema

    made = parameter_schema(flow)
    for name, parameter in inspect.signature(flow.fn).parameters.items():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD} and name in made.properties:
            kind = "object" if parameter.kind is parameter.VAR_KEYWORD else "array"
            kept = {key: made.properties[name][key] for key in ("title", "position") if key in made.properties[name]}
            made.properties[name] = {**kept, "type": kind}
            made.required = [one for one in made.required if one != name]
    return made


def check(flow: prefect.Flow[..., Any], parameters: Mapping[str, Any], *, whole: bool) -> None:
    """Check parameters against a flow.

    Args:
        flow: The flow.
        parameters: Its parameters by name.
        whole: Whether all that have no default must be there, because nobody is there to give them.

    Raises:
        DeploymentError: If they do not fit.
    """
    if not isinstance(parameters, Mapping):
        msg = f"parameters={parameters!r} cannot be: they are a mapping, such as {{'rows': 10}}."
        raise DeploymentError(msg)
    check_schema(schema_of(flow), parameters, flow.name, whole=whole)


def check_schema(schema: Schema, parameters: Mapping[str, Any], flow_name: str, *, whole: bool) -> None:
    """Check parameters against what Prefect keeps of a flow.

    Raises:
        DeploymentError: If they do not fit.
    """
    known = schema.get("properties", {})
    unknown = [name for name in parameters if name not in known]
    if unknown:
        msg = f"{flow_name} has no parameter {unknown[0]!r}{nearest(unknown[0], known)}; it has {listed(known)}."
        raise DeploymentError(msg)
    missing = [name for name in schema.get("required", ()) if name not in parameters]
    if whole and missing:
        msg = f"{flow_name} cannot run by itself: its parameter {missing[0]!r} has no default and is not given."
        raise DeploymentError(msg)
    if parameters:  # it costs some time, also each run that loads the flow's file
        _check_types(schema, parameters, flow_name)


def read(words: Iterable[str], schema: Schema) -> dict[str, Any]:
    """Read parameters that are typed as ``name=value``; whether they fit the flow is left to `check_schema`.

    Raises:
        DeploymentError: If one is not of that form, or given twice.

    Example:
        >>> read(["rows=10", "name=10"], {"properties": {"rows": {"type": "integer"}, "name": {"type": "string"}}})
        {'rows': 10, 'name': '10'}
    """
    known = schema.get("properties", {})
    try:
        typed = split(words, example=next(iter(known), "n"))
    except LookupError as error:
        raise DeploymentError(str(error)) from None
    return {name: _value(name, text, schema) for name, text in typed.items()}


def _value(name: str, text: str, schema: Schema) -> Any:
    wanted = schema.get("properties", {}).get(name, {})
    tried = readings(text, is_free=not _LIMITS & wanted.keys())
    return next((one for one in tried if not _problems({name: one}, schema)), tried[-1])


def _check_types(schema: Schema, parameters: Mapping[str, Any], flow_name: str) -> None:
    from prefect.utilities.annotations import freeze
    from pydantic import TypeAdapter

    plain = {name: value.unfreeze() if isinstance(value, freeze) else value for name, value in parameters.items()}
    try:
        as_sent = TypeAdapter(dict[str, Any]).dump_python(plain, mode="json")
    except ValueError as error:
        msg = (
            f"The parameters of {flow_name} cannot be kept by Prefect, which keeps JSON: {str(error).splitlines()[0]}."
        )
        raise DeploymentError(msg) from None
    for problem in _problems(as_sent, schema):
        name = problem.json_path.removeprefix("$").lstrip(".")
        msg = f"The parameter {name!r} of {flow_name} cannot be {problem.instance!r}: {problem.message}."
        raise DeploymentError(msg)


def _problems(parameters: Mapping[str, Any], schema: Schema) -> list[Any]:
    from prefect.utilities.schema_tools.validation import validate

    return validate(dict(parameters), dict(schema), ignore_required=True)
