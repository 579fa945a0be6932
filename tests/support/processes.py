"""What the processes do that tests of training in several processes start: each must be able to import it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from deblurcli import api
from deblurcli.train.parallel import joined


def share(rank: int, folder: str) -> None:
    """One of two processes: gradients 1 and 3, weights 0 and 1."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29577"}
    with joined(torch.device("cpu")) as peers:
        module = nn.Linear(3, 2)
        nn.init.constant_(module.weight, float(rank))
        peers.start_alike(module.state_dict().values())
        for p in module.parameters():
            p.grad = torch.full_like(p, 1.0 + 2 * rank)
        peers.average_gradients(module)
        found = [float(module.weight.detach().mean()), float(module.weight.grad.mean()), peers.agree(7.0 + rank)]
    Path(folder, str(rank)).write_text(json.dumps([*found, peers.leads, peers.seed(5)]))


def train(rank: int, folder: str, keywords: dict[str, Any]) -> None:
    """One of two processes that train together by the API, twice; whether it has left the other each time."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29576"}
    torch.set_num_threads(1)
    left = []
    for run in ("one", "two"):
        api.train_network("deblur", **keywords | {"out": Path(folder, run)})
        left.append(not dist.is_initialized())
    Path(folder, str(rank)).write_text(json.dumps(left))
