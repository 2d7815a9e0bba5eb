"""Writes a model's folder: the model in its flavor's format, MLmodel file, signature, example and requirements."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowml import records
from flowml.errors import pass_on
from flowml.store.backend.imports import import_patiently, is_disturbed
from flowml.store.models.enforcement import named
from flowml.store.models.imports import list_installed
from flowml.store.models.requirements import requirements_of
from flowml.store.models.signature import Interface, describe_interface
from flowml.store.models.skops_types import NotSkopsError, types_to_trust
from flowml.store.models.torch_modules import save_network

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

_logger = logging.getLogger("flowml.store.models.log_model")
_PAUSES = (0.1, 0.5, 2.0)  # seconds
_INFERS_NOTHING = frozenset({"keras", "onnx"})  # MLflow, from an example, for these flavors


def write(record: records.Model, folder: Path) -> tuple[str, ...]:
    """Serialize a model into a folder that does not exist yet.

    Args:
        record: The model and what the task was given.
        folder: Where to.

    Returns:
        What its description lacks, and why.

    Raises:
        Exception: Whatever the model's library or MLflow raises when the model cannot be serialized.
    """
    for pause in _PAUSES:
        try:
            return _write(record, folder, again=True)
        except RuntimeError as error:
            if not is_disturbed(error):
                raise
            _logger.debug("Model %r is saved again", record.name, exc_info=True)
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(pause)
    return _write(record, folder, again=False)


def _write(record: records.Model, folder: Path, *, again: bool) -> tuple[str, ...]:
    list_installed()
    signature, example, notes = _interface_of(record, again=again)
    try:
        _save(record, folder, signature, example)
    except BaseException as error:
        pass_on(error)
        if (signature is None and example is None) or (again and is_disturbed(error)):
            raise
        shutil.rmtree(folder, ignore_errors=True)
        _save(record, folder, None, None)  # it counts more than its description; a fault of its own is raised again
        reason = f"the model could not be saved with them ({named(error)})"
        notes = (f"neither signature nor input example: {reason}",)
    _write_requirements(record, folder)
    return notes


def _interface_of(record: records.Model, *, again: bool) -> Interface:
    try:
        return describe_interface(record.value, record.flavor, record.inputs)
    except BaseException as error:
        pass_on(error)
        if again and is_disturbed(error):
            raise
        return Interface(notes=(f"no signature: the task's inputs cannot be looked at ({named(error)})",))


def _save(record: records.Model, folder: Path, signature: ModelSignature | None, example: Any) -> None:
    options: dict[str, Any] = {"signature": signature, "input_example": example}
    if signature is None and example is not None and record.flavor not in _INFERS_NOTHING:
        options["signature"] = False  # None would have MLflow infer one from the example
    if record.flavor in {"sklearn", "lightgbm"} and hasattr(record.value, "get_params"):
        _save_estimator(record, folder, options)
    elif record.flavor == "pytorch":
        save_network(record.value, record.name, folder, options, partial(_flavor_save, record, folder))
    else:
        _flavor_save(record, folder, options)


def _save_estimator(record: records.Model, folder: Path, options: dict[str, Any]) -> None:
    """Save by skops if its types can be trusted, else by cloudpickle with one warning."""
    from mlflow.exceptions import MlflowException

    try:
        trusted = types_to_trust(record.value, record.trust)
        try:
            _flavor_save(record, folder, options | {"serialization_format": "skops", "skops_trusted_types": trusted})
        except MlflowException as error:  # MLflow reads it back, and that failed
            reason = f"skops cannot read it back ({error.__cause__ or error})"
            raise NotSkopsError(reason) from error
    except NotSkopsError as obstacle:
        shutil.rmtree(folder, ignore_errors=True)
        _flavor_save(record, folder, options | {"serialization_format": "cloudpickle"})
        _logger.warning("Model %r is saved by cloudpickle: %s.", record.name, obstacle.reason)


def _flavor_save(record: records.Model, folder: Path, options: Mapping[str, Any]) -> None:
    module: Any = import_patiently(f"mlflow.{record.flavor}")
    # An empty list of requirements keeps MLflow from inferring them; the real ones follow.
    options = {**options, "path": str(folder), "pip_requirements": []}
    if record.flavor == "keras":
        folder.mkdir()  # MLflow writes the example before it makes the folder
    if record.flavor == "onnx":
        options["save_as_external_data"] = False  # it would take the tensors out of the user's model
    value = record.value
    if record.flavor == "transformers":
        value, options["metadata"] = without_hub(value)
    if record.flavor == "pyfunc":
        module.save_model(python_model=value, **options)
    else:
        module.save_model(value, **options)


def _write_requirements(record: records.Model, folder: Path) -> None:
    """Add the requirements to MLflow's own, in both files that MLflow keeps them in."""
    found = requirements_of(record.value, record.flavor, folder)
    listed = folder / "requirements.txt"
    own = listed.read_text().split()
    listed.write_text("\n".join([*own, *found]))
    conda = folder / "conda.yaml"
    lines = conda.read_text().splitlines()
    last = max(number for number, line in enumerate(lines) if line.strip() == f"- {own[-1]}")
    indent = lines[last].partition("-")[0]
    lines[last + 1 : last + 1] = [f"{indent}- {requirement}" for requirement in found]
    conda.write_text("\n".join(lines) + "\n")


def without_hub(pipeline: Any) -> tuple[Any, dict[str, str] | None]:
    """Give a pipeline that MLflow saves without asking the hub, and the metadata that say where its network is from.

    By the network's name MLflow asks the hub for a model card and a license, and tries again for minutes if the hub
    cannot be reached: too long for the user's task. The copy shares all but the name with the original.

    Args:
        pipeline: The pipeline, which stays as it is.
    """
    network: Any = getattr(pipeline, "model", None)
    name = getattr(network, "name_or_path", None)
    if not name or type(network).__module__.partition(".")[0] == "peft":  # of these MLflow saves only a reference
        return pipeline, None
    pipeline, network = copy.copy(pipeline), copy.copy(network)
    network.name_or_path = ""
    pipeline.model = network
    return pipeline, {"source_model_name": name}


_ADVISERS = (
    *("mlflow.sklearn", "mlflow.lightgbm", "mlflow.pyfunc", "mlflow.pytorch", "mlflow.tensorflow"),
    *("mlflow.transformers", "mlflow.models.signature", "mlflow.models.utils", "mlflow.types.utils"),
    # A module that cannot be traced is told of once, by flowml.
    *("torch.__trace", "torch.fx.experimental.symbolic_shapes", "torch._export.non_strict_utils"),
)
_here = threading.local()


class _MuteThisThread(logging.Filter):
    """Drops a record below ERROR while its thread is inside `mlflow_muted`; other threads log as ever."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or not getattr(_here, "muted", False)


@functools.cache
def _install() -> None:
    for name in _ADVISERS:
        logging.getLogger(name).addFilter(_MuteThisThread())


@contextlib.contextmanager
def mlflow_muted() -> Iterator[None]:
    """Mute MLflow's advice in this thread only, so that no other thread's messages are lost."""
    _install()
    before = getattr(_here, "muted", False)
    _here.muted = True
    try:
        yield
    finally:
        _here.muted = before
