"""Saves torch modules: as a traced graph, which is MLflow's safe format for them, or by cloudpickle."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flowml.errors import pass_on

_logger = logging.getLogger("flowml.store.models.log_model")


@contextlib.contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Put a torch module in evaluation mode, and each of its parts back in the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def precision_of(module: Any) -> str:
    """Name the type of numbers that a torch module calculates in, as NumPy does; single precision if NumPy has none."""
    dtypes = [parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()]
    name = str(dtypes[0]).removeprefix("torch.") if dtypes else ""
    return name if name in {"float16", "float64"} else "float32"


def save_network(
    module: Any, name: str, folder: Path, options: Mapping[str, Any], save: Callable[[Mapping[str, Any]], None]
) -> None:
    """Save a torch module as a traced graph if it can be traced, else by cloudpickle with one warning.

    Args:
        module: The network. A traced graph keeps the mode it was traced in, so it is traced as it predicts.
        name: What the warning calls it.
        folder: Where to.
        options: MLflow's options, with the input example that it is traced with.
        save: Saves the module, given the options.
    """
    import torch

    reason = None
    if isinstance(module, torch.jit.ScriptModule):
        reason = "a scripted module cannot be traced"
    elif options["input_example"] is None:
        reason = "none of the task's inputs is an array or tensor that it takes, with which it could be traced"
    else:
        try:
            with evaluating(module):
                save({**options, "input_example": _two_rows(options["input_example"]), "serialization_format": "pt2"})
            _check_rows(folder / "data" / "model.pt2")
        except BaseException as error:  # noqa: BLE001 - tracing runs the user's code, and refuses much of it in many ways
            pass_on(error)
            first_line = str(error).strip().partition("\n")[0]
            reason = f"it cannot be traced ({type(error).__name__}: {first_line})"
            shutil.rmtree(folder, ignore_errors=True)
    if reason:
        save({**options, "serialization_format": "pickle"})
        _logger.warning("Model %r is saved by cloudpickle: %s.", name, reason)


def _two_rows(example: Any) -> Any:
    """Repeat a lone row: a graph traced with one row takes only one."""
    return example.repeat(2, axis=0) if example.ndim > 1 and len(example) == 1 else example


def _check_rows(traced: Path) -> None:
    """Refuse a graph that takes only as many rows as the example has."""
    import torch

    program = torch.export.load(traced)
    [input_node] = [node for node in program.graph.nodes if node.name == program.graph_signature.user_inputs[0]]
    rows = input_node.meta["val"].shape[0]
    if isinstance(rows, int):
        reason = f"its graph would take exactly {rows} rows"
        raise ValueError(reason)  # noqa: TRY004 - the number is wrong, not its type
