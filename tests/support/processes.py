"""What the processes do that tests of training in several processes start: each must be able to import it."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from deblurcli import api
from deblurcli.train.parallel import joined


def free_port() -> int:
    """Where nobody listens: what else runs on the machine may have any fixed one."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def place(rank: int, port: int) -> None:
    """Say that this process is one of two, by the environment."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def share(rank: int, folder: str, port: int) -> None:
    """One of two processes: gradients 1 and 3, weights 0 and 1."""
    place(rank, port)
    with joined(torch.device("cpu")) as peers:
        module = nn.Linear(3, 2)
        nn.init.constant_(module.weight, float(rank))
        peers.start_alike(module.state_dict().values())
        for p in module.parameters():
            p.grad = torch.full_like(p, 1.0 + 2 * rank)
        peers.average_gradients(module)
        found = [float(module.weight.detach().mean()), float(module.weight.grad.mean()), peers.agree(7.0 + rank)]
    Path(folder, str(rank)).write_text(json.dumps([*found, peers.leads, peers.seed(5)]))


def train(rank: int, folder: str, keywords: dict[str, Any], ports: tuple[int, int]) -> None:
    """One of two processes that train together by the API, twice; whether it has left the other each time."""
    torch.set_num_threads(1)
    left = []
    for run, port in zip(("one", "two"), ports, strict=True):
        place(rank, port)
        api.train_network("deblur", **keywords | {"out": Path(folder, run)})
        left.append(not dist.is_initialized())
    Path(folder, str(rank)).write_text(json.dumps(left))
