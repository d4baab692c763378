"""ProcessGroup: the processes that train one network together, as torchrun starts them.

Every process learns from its part of each batch, and the sum of their gradients, divided by what
the whole batch holds, moves the same weights everywhere: N processes equal one with the same batch.
Two things differ. Batch norms that learn measure the part of their own process, and the statistics
of the first are saved. And under `average: per_cell` a batch counts as the mean of its parts by
their images, for each part is averaged over its own cells.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

# The others wait while the first evaluates and writes.
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """One process's place among those that train together.

    Attributes:
        rank: 0 is the one that prints and writes.
        size: how many there are.
        local_rank: place among those of the same machine, which is also its CUDA device.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    def device_name(self, asked: str) -> str:
        """What `asked` for all means for this process: each has a CUDA device of its own."""
        if self.size == 1 or asked not in ("auto", "cuda") or not torch.cuda.is_available():
            return asked
        return f"cuda:{self.local_rank}"

    def sum(self, values: Tensor) -> Tensor:
        """`values` added up over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether `flag` holds in any process."""
        return bool(self.sum(torch.tensor([float(flag)])) > 0)

    def from_first(self, values: list[float]) -> list[float]:
        """What the first process gave; all give as many values."""
        told = torch.tensor(values, dtype=torch.float64)
        if self.size > 1:
            distributed.broadcast(told, src=0)
        return [float(value) for value in told]

    def sum_gradients(self, network: nn.Module) -> None:
        """Add up the gradients of all that moves; one that a process lacks counts as zero there."""
        if self.size == 1:
            return
        moving = [p for p in network.parameters() if p.requires_grad]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in moving]
        whole = self.sum(torch.cat([grad.reshape(-1) for grad in grads]))
        parts = torch.split(whole, [grad.numel() for grad in grads])
        for parameter, grad, part in zip(moving, grads, parts, strict=True):
            parameter.grad = grad.copy_(part.view_as(grad))


ALONE = ProcessGroup()


@contextmanager
def process_group() -> Iterator[ProcessGroup]:
    """The group torchrun put this process into, connected while in use; alone without torchrun."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    group = ProcessGroup(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"  # counts and flags stay on the CPU
        torch.cuda.set_device(group.local_rank % torch.cuda.device_count())
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield group
    finally:
        distributed.destroy_process_group()
