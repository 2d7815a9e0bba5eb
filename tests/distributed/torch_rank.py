"""A training by PyTorch on several processes, as torchrun starts it; the second rank dies as often as it is told to."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import mlflow
import torch
from torch import distributed

import flowml


def train(folder: Path, deaths: int) -> None:
    """Fit a line on this rank's share of the rows."""
    distributed.init_process_group("gloo")
    rank, world = distributed.get_rank(), distributed.get_world_size()
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rows = torch.randn(64, 4)
    x, y = rows[rank::world], (rows @ torch.tensor([[1.0], [2.0], [3.0], [4.0]]))[rank::world]
    with flowml.distributed(), mlflow.start_run():
        mlflow.log_param("world_size", world)
        for step in range(4):
            optimizer.zero_grad()
            loss = ((model(x) - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            mlflow.log_metric("loss", loss.item(), step=step)
        died = folder / "died"
        if rank == 1 and len(died.read_text()) < deaths:
            with died.open("a") as file:
                file.write(".")
            os._exit(7)
        distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]))
