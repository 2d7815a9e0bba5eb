"""Decides whether a scikit-learn model can be saved in the safe skops format, and which types that needs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from flowml.errors import pass_on
from flowml.store.backend.imports import import_patiently
from flowml.store.models.imports import distributions_of

# Top-level module → the distributions that may own it, so that a local file named "scipy.py" is not trusted.
_KNOWN = {
    "sklearn": {"scikit-learn"},
    "numpy": {"numpy"},
    "scipy": {"scipy"},
    "xgboost": {"xgboost", "xgboost-cpu"},
    "lightgbm": {"lightgbm"},
    "catboost": {"catboost"},
}
_PLAIN_CONTAINERS = frozenset({"collections.OrderedDict", "collections.defaultdict"})


class NotSkopsError(Exception):
    """The model cannot be saved in the skops format as it is.

    Attributes:
        reason: Why, and what the user can do, in one sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def types_to_trust(model: Any, trust: Collection[str]) -> list[str]:
    """Find the types that loading a model from skops must be allowed to create.

    Types of installed scikit-learn, NumPy, SciPy, XGBoost, LightGBM and CatBoost are trusted by name, since who
    loads the model trusts these libraries anyway. All others must be named by the user.

    Args:
        model: The model. Only what skops writes of it says which types it holds.
        trust: Full names of further types that the user trusts.

    Raises:
        NotSkopsError: If skops cannot write it, or the model holds a type that is not trusted.
    """
    skops: Any = import_patiently("skops.io")
    try:
        found: list[str] = skops.get_untrusted_types(data=skops.dumps(model))
    except BaseException as error:
        pass_on(error)
        reason = f"skops cannot write it ({type(error).__name__}: {error})"
        raise NotSkopsError(reason) from error
    unknown = sorted(name for name in found if not (name in trust or _is_known(name)))
    if unknown:
        names = ", ".join(map(repr, unknown))
        reason = f"it holds types that skops does not know; if you trust them, pass Model(trust=({names},))"
        raise NotSkopsError(reason)
    return found


def _is_known(type_name: str) -> bool:
    module = type_name.partition(".")[0]
    owners = _KNOWN.get(module, set())
    return type_name in _PLAIN_CONTAINERS or not owners.isdisjoint(distributions_of(module))
