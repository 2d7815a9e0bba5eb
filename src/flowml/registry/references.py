"""How a version of a registered model is named: ``churn@champion``, ``churn/7``, ``models:/churn/7``, or a pair."""

from flowml.store.registered.references import ModelRef, NoSuchVersionError, Reference, check_model, find, parse

__all__ = ["ModelRef", "NoSuchVersionError", "Reference", "check_model", "find", "parse"]
