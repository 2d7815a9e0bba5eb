"""Which rank a process is, of which node: what launchers and libraries say of it."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from typing import Any

from flowml import settings

_log = logging.getLogger("prefect.flowml")
_RANK = ("RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID")
_LOCAL_RANK = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID")
_NODE = ("GROUP_RANK", "NODE_RANK", "SLURM_NODEID")
_RESTART = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a training a process is.

    Attributes:
        rank: Its number among all processes.
        local_rank: Its number among those of its node.
        node: The number of its node.
        restart: How often the training was begun again.
    """

    rank: int
    local_rank: int
    node: int
    restart: int


def here(rank: int | None) -> Place:
    """Find out which rank this process is.

    Args:
        rank: What the user's code says.

    Raises:
        TypeError: If that is no whole number.
        ValueError: If it is below zero.
    """
    if rank is not None and (isinstance(rank, bool) or not isinstance(rank, int)):
        msg = f"flowml.distributed(rank=...) takes a whole number from 0, not {rank!r}."
        raise TypeError(msg)
    if rank is not None and rank < 0:
        msg = f"flowml.distributed(rank={rank}) is below 0: the first rank is 0."
        raise ValueError(msg)
    ray = _in_ray_train()
    if ray is not None:
        found = (ray.get_world_rank(), ray.get_local_rank(), ray.get_node_rank())
        number, local, node = (int(each or 0) for each in found)
    else:
        known = _in_torch()
        number = _number(_RANK) or 0 if known is None else known
        # Without a word of its launcher, each is on a node of its own with the first.
        node = _number(_NODE) or 0
        told = _number(_LOCAL_RANK)
        local = (number if rank is None else rank) if told is None else told
    return Place(number if rank is None else rank, local, node, _number(_RESTART) or 0)


def _number(names: tuple[str, ...]) -> int | None:
    for name in names:
        if text := settings.from_environment(name):
            if text.isdecimal():
                return int(text)
            _log.warning(
                "flowml: %s=%r in the environment is passed over: a launcher sets it to a whole number from 0. "
                "Unset it, or pass flowml.distributed(rank=...).",
                name,
                text,
            )
    return None


def _in_torch() -> int | None:
    """Return the rank in PyTorch's process group, if one is set up here: it may have been given to it by hand."""
    torch: Any = sys.modules.get("torch.distributed")
    return int(torch.get_rank()) if torch and torch.is_available() and torch.is_initialized() else None


def _in_ray_train() -> Any:
    """Return Ray Train's context, if this is one of its workers."""
    train: Any = sys.modules.get("ray.train")
    if train is None:
        return None
    try:
        context = train.get_context()
        return context if context.get_world_rank() is not None else None
    except RuntimeError:  # not in a worker of a training
        return None
