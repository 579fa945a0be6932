"""Networks small enough for a test, and the comparison of their weights."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from deblurcli.device import Device, pick_device
from deblurcli.networks import NETWORKS
from deblurcli.networks.lpips import LPIPS
from deblurcli.restore.worker import Placed
from deblurcli.weights.load import LoadedNetwork


class Blurs(nn.Module):
    """A stand-in for the reblurring network: averages the centre frame along x by a learnt amount."""

    def __init__(self) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(0.8))

    def forward(self, window: Tensor) -> Tensor:
        centre = window[:, window.shape[1] // 2]
        blurred = nn.functional.avg_pool2d(centre, (1, 7), 1, (0, 3), count_include_pad=False)
        return centre + self.amount * (blurred - centre)


def random_lpips(trunk: str) -> LPIPS:
    torch.manual_seed(4)
    network = LPIPS(trunk).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            # Loud enough for the deep features to be alive; heads are not negative.
            parameter.normal_(0, math.sqrt(2 / max(parameter[0].numel(), 1)) if parameter.dim() > 1 else 0.1)
            if name.startswith("lin"):
                parameter.abs_()
    return network


def randomised(module: nn.Module, seed: int, scale: float = 1.0) -> nn.Module:
    """Small random weights everywhere: an untrained network of ours changes nothing."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        fan = parameter[0].numel() if parameter.ndim > 1 else 100
        with torch.no_grad():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator) / fan**0.5)
    return module.eval()


def weights(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def placed(module: nn.Module, network: str, device: Device | None = None, **changed: Any) -> Placed:
    """A network of a test as a worker would hold it. ``changed``: fields of its LoadedNetwork."""
    loaded = LoadedNetwork(module, NETWORKS[network], {}, network, "", network, {})
    return Placed(replace(loaded, **changed), module, device or pick_device("cpu", "fp32"))
