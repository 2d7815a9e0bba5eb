"""Whether a version's files are data alone, or run whatever they say when they are loaded."""

from __future__ import annotations

from pathlib import Path

from flowml.errors import ServingError

_PICKLES = {".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill", ".pt", ".pth", ".bin"}
_REMEDY = "If you trust whoever made it, serve it with --allow-pickle."


def check(folder: Path, named: str) -> None:
    """Refuse a version that runs code of its own when it is loaded.

    Args:
        folder: The version's files.
        named: The version, as messages name it.

    Raises:
        ServingError: If it brings code or a pickle.
    """
    from mlflow.models import Model

    flavors = Model.load(str(folder)).flavors
    pyfunc = flavors.get("python_function", {})
    loader = str(pyfunc.get("loader_module", ""))
    if pyfunc.get("code") or not loader.startswith("mlflow.") or loader == "mlflow.pyfunc.model":
        msg = f"{named} brings code of its own ({loader}), which runs when it is loaded. {_REMEDY}"
        raise ServingError(msg)
    for file in sorted(folder.rglob("*")):
        if file.suffix in _PICKLES:
            msg = f"{named} is saved by pickle ({file.name}), which runs whatever the file says. {_REMEDY}"
            raise ServingError(msg)
