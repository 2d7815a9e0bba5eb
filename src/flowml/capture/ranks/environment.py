"""What a child process is told of the task that starts it, in environment variables."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from flowml import records, settings, store
from flowml.capture.session import current

VARIABLE = "FLOWML_CALLER"
_log = logging.getLogger("prefect.flowml")


@dataclass(frozen=True, slots=True)
class Told:
    """What a child was told.

    Attributes:
        caller: The task that started it, as other processes know it.
        task: The task's name.
        system_metrics: Whether its machine is to be sampled.
    """

    caller: records.Caller
    task: str
    system_metrics: bool = False


def child_environment() -> dict[str, str]:
    """Return the environment variables by which a process that you start joins the run of the task that is running.

    A child with flowml joins by `distributed`. For one that uses plain MLflow alone, `MLFLOW_TRACKING_URI`,
    `MLFLOW_EXPERIMENT_ID` and `MLFLOW_RUN_ID` are among them: what it logs goes to the task's run. The run may look
    finished when such a child ends; the task's end says how it really ended.

    They can hold your tracking server's password: hand them to processes, do not print them.

    Returns:
        The variables; none outside a tracked call.

    Example:
        >>> subprocess.run(["torchrun", "train.py"], env={**os.environ, **flowml.child_environment()}, check=True)
    """
    session = current()
    if session is None:
        return {}
    told = Told(store.NO_RUN.as_caller(), session.call.identity.owner)
    variables: Mapping[str, str] = {}
    with session.guard("tell a child process of the run"):
        caller, variables = store.told_to_children(session.run)
        session.beside.expect_ranks()
        told = Told(session.span.handed_on(caller), told.task, session.beside.samples)
    return {**variables, VARIABLE: json.dumps(dataclasses.asdict(told))}


def told_here(environment: Mapping[str, str] | None) -> Told | None:
    """Return what this process was told; None if nothing, or what cannot be read.

    Args:
        environment: What `child_environment` returned, where it was handed over otherwise.

    Raises:
        TypeError: If that is no mapping.
    """
    if environment is not None and not isinstance(environment, Mapping):
        msg = f"flowml.distributed() takes what flowml.child_environment() returned, not {environment!r}."
        raise TypeError(msg)
    text = settings.from_environment(VARIABLE) if environment is None else environment.get(VARIABLE, "")
    if not text:
        return None
    try:
        fields = json.loads(text)
        return Told(records.Caller.read(fields["caller"]), str(fields["task"]), bool(fields["system_metrics"]))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        _log.warning(
            "flowml: %s holds %.100r, which flowml.child_environment() did not write: %r. Start the process in the "
            "task, with env={**os.environ, **flowml.child_environment()}, and with the same version of flowml.",
            VARIABLE,
            text,
            error,
        )
        return None
