"""Several processes that train one network, each on its own crops: `torchrun ... -m deblurcli train ...`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Peers:
    """This process among all that train together; without torchrun it is the only one."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process validates, writes and reports."""
        return self.rank == 0

    def seed(self, seed: int) -> int:
        """A seed of its own for each process; the first keeps the one given."""
        return seed + 1_000_003 * self.rank

    def average_gradients(self, module: nn.Module) -> None:
        """Replace every gradient by its mean over the processes, which must all call this in the same order."""
        if self.count == 1:
            return
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def agree(self, value: float) -> float:
        """The first process's value, in all of them."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=_device())
        dist.broadcast(shared, 0)
        return float(shared)

    def start_alike(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's weights."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), 0)


def _device() -> torch.device:
    return torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")


@contextmanager
def joined(device: torch.device) -> Iterator[Peers]:
    """Join the processes that torchrun started, on one host or several, and leave them at the end.

    Each has a device of its own. They leave together, since one that left while another is within its last exchange
    would abort it; after an error the others are not waited for.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield Peers()
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if mine := not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Peers(dist.get_rank(), dist.get_world_size())
        if mine:
            dist.barrier()
    finally:
        if mine:
            dist.destroy_process_group()
