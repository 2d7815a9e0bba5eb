"""Decides whether a scikit-learn model can be saved in the safe skops format, and which types that needs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from flowml.store.models.imports import distributions_of
from flowml.store.models.skops_file import NotSkopsError

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


def types_to_trust(file: Path, trust: Collection[str]) -> list[str]:
    """Find the types that loading a model from skops must be allowed to create.

    Types of installed scikit-learn, NumPy, SciPy, XGBoost, LightGBM and CatBoost are trusted by name, since who
    loads the model trusts these libraries anyway. All others must be named by the user.

    Args:
        file: What skops wrote of the model.
        trust: Full names of further types that the user trusts.

    Raises:
        NotSkopsError: If skops cannot read it, or the model holds a type that is not trusted.
    """
    import skops.io

    try:
        found: list[str] = skops.io.get_untrusted_types(file=file)
    except Exception as error:
        reason = f"skops cannot read what it wrote ({type(error).__name__}: {error})"
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
