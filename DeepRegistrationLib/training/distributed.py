"""Several processes that train one network together, as `torchrun` starts them; one process is a team of its own.

The batch of a step is that of one process: of its pairs 0..n-1 the process of rank r takes r, r + world, ...
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import nn

from ..core.device import choose_device
from ..core.errors import InputError

#: the first process validates while the others wait for it
_PATIENCE = timedelta(hours=12)


@dataclass(frozen=True)
class Team:
    """rank  number of this process among `world`;  device  where it computes"""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """True for the process that logs, validates and writes."""
        return self.rank == 0

    def numbers(self, batch: int) -> range:
        """Which of a step's pairs this process takes."""
        return range(self.rank, batch, self.world)

    def check(self, batch: int) -> None:
        """Raises InputError where there are not pairs enough for every process."""
        if batch < self.world:
            raise InputError(
                f"Each step takes {batch} pair(s), which {self.world} processes cannot share; "
                f"start at most {batch}, or take larger steps with --batch {self.world}."
            )

    def wrapped(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over the processes; parameters that a step does not use are fine."""
        if self.world == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=devices, find_unused_parameters=True)

    def gathered(self, value: Any) -> list[Any]:
        """The value of every process, in order of rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(values, value)
        return values

    def told(self, value: Any) -> Any:
        """The first process's value, in all."""
        if self.world == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]


@contextmanager
def joined(device: str) -> Iterator[Team]:
    """The team this process belongs to by the environment that `torchrun` sets; alone without it.

    device  as the user names it; with several CUDA devices in a computer each process takes its own
    Raises InputError for a device that is not there.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Team(choose_device(device))
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device in ("auto", "cuda") and torch.cuda.is_available():
        device = f"cuda:{local}"
    chosen = choose_device(device)
    if chosen.type == "mps":
        raise InputError("Several processes cannot train on the device 'mps'; give cpu, or start one process.")
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    torch.distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Team(chosen, int(os.environ["RANK"]), world)
    finally:
        torch.distributed.destroy_process_group()
