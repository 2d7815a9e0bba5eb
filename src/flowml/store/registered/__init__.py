"""Registered models as they are read: a version is named, found and loaded.

Words: `references` (what names a version), `find` (asks MLflow for it), `load` (the model itself, once in a process).
"""

from flowml.store.registered.loading import Loaded, load
from flowml.store.registered.prompts import load_version
from flowml.store.registered.references import ModelRef, NoSuchVersionError, Reference, find, parse, parse_prompt

__all__ = [
    "Loaded",
    "ModelRef",
    "NoSuchVersionError",
    "Reference",
    "find",
    "load",
    "load_version",
    "parse",
    "parse_prompt",
]
