"""What the processes do that tests of training in several processes start: each must be able to import it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from deblurcli.train.parallel import join


def share(rank: int, folder: str) -> None:
    """One of two processes: gradients 1 and 3, weights 0 and 1."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29577"}
    workers = join(torch.device("cpu"))
    module = nn.Linear(3, 2)
    nn.init.constant_(module.weight, float(rank))
    workers.start_alike(module.state_dict().values())
    for p in module.parameters():
        p.grad = torch.full_like(p, 1.0 + 2 * rank)
    workers.average_gradients(module)
    found = [float(module.weight.detach().mean()), float(module.weight.grad.mean()), workers.agree(7.0 + rank)]
    Path(folder, str(rank)).write_text(json.dumps([*found, workers.leads, workers.seed(5)]))
    dist.barrier()  # one that leaves while the other is within its last exchange aborts it
    dist.destroy_process_group()
