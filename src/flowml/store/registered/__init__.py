"""Registered models as they are read: a version is named, found and loaded.

Words: `references` (what names a version), `find` (asks MLflow for it), `load` (the model itself, once in a process).
"""

from flowml.store.registered.loading import Loaded, load
from flowml.store.registered.references import ModelRef, NoSuchVersionError, Reference, find, parse

__all__ = ["Loaded", "ModelRef", "NoSuchVersionError", "Reference", "find", "load", "parse"]
