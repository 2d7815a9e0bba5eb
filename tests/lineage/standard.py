"""What the standard asks of an event: its own required fields, and each facet by the class that the client ships."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import attr
import jsonschema
from openlineage.client import generated

_URI = {"type": "string", "pattern": "^[a-z][a-z0-9+.-]*:"}
_FACETS = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "required": ["_producer", "_schemaURL"],
        "properties": {"_producer": _URI, "_schemaURL": _URI},
    },
}
_NAMED = {
    "type": "object",
    "required": ["namespace", "name"],
    "properties": {"namespace": {"type": "string"}, "name": {"type": "string", "minLength": 1}, "facets": _FACETS},
}
EVENT = {
    "type": "object",
    "required": ["eventTime", "producer", "schemaURL", "run", "job"],
    "properties": {
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "eventTime": {"type": "string"},
        "producer": _URI,
        "schemaURL": _URI,
        "run": {
            "type": "object",
            "required": ["runId"],
            "properties": {"runId": {"type": "string"}, "facets": _FACETS},
        },
        "job": _NAMED,
        "inputs": {"type": "array", "items": _NAMED},
        "outputs": {"type": "array", "items": _NAMED},
    },
}


@cache
def _classes() -> dict[str, Any]:
    """Return the client's classes by the address of the schema that they are made from."""
    found = {}
    for each in pkgutil.iter_modules(generated.__path__):
        module = importlib.import_module(f"{generated.__name__}.{each.name}")
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if attr.has(kind) and "_get_schema" in vars(kind):
                found[kind._get_schema()] = kind
    return found


def check(event: dict[str, Any]) -> None:
    """Fail if an event is not what the standard asks for."""
    jsonschema.validate(event, EVENT)
    UUID(event["run"]["runId"])
    assert datetime.fromisoformat(event["eventTime"].replace("Z", "+00:00")).tzinfo is not None
    for owner in (event["run"], event["job"], *event.get("inputs", []), *event.get("outputs", [])):
        for facet in owner.get("facets", {}).values():
            _check_facet(facet)


def _check_facet(facet: dict[str, Any]) -> None:
    kind = _classes()[facet["_schemaURL"]]
    fields = {name: value for name, value in facet.items() if not name.startswith("_")}
    known = {field.name for field in attr.fields(kind)}
    required = {field.name for field in attr.fields(kind) if field.default is attr.NOTHING}
    assert set(fields) <= known
    assert required <= set(fields)
    kind(**fields)
