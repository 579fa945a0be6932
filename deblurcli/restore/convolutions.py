"""Which convolutions a network computes by minimal filtering: those that are faster so on this machine, by measurement.

Both ways are timed on noise, in turn, once for each number of channels, which takes some hundredths of a second; the
default networks have four to six of them. ``deblur doctor --speed`` keeps what it finds
(:mod:`deblurcli.restore.measured`).
Results differ from those of a direct convolution by about a hundred-thousandth of their size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from deblurcli.device import Device
from deblurcli.networks.spec import NetworkSpec
from deblurcli.networks.winograd import Kind, Quick, kind_of, quickened
from deblurcli.restore.measured import keep, kept, machine, processor_seconds

LEAST = 1.2
"""Times as fast as a direct convolution that minimal filtering must be: near 1 the choice would be one of chance."""
PICTURES = ((84, 96), (42, 48))
"""Height and width of the features that are tried: of several blocks of tiles, and of one. The slower one counts."""
TRIES = 3
NARROW = 16
"""Channels below which nothing is tried: a direct convolution is far faster."""

_MEASURED: dict[str, float] = {}


def quick(module: nn.Module, spec: NetworkSpec, device: Device) -> nn.Module:
    """The network itself, with those convolutions by minimal filtering that it makes faster here.

    Of deblurring networks in float32 on the processor; others stay as they are.
    """
    if spec.role != "deblur" or device.where.type != "cpu" or device.dtype != torch.float32:
        return module
    return quickened(module, {kind for kind in kinds_of(module) if gain(kind) >= LEAST})


def kinds_of(module: nn.Module) -> set[Kind]:
    """Channels in and out of the convolutions that could be computed so."""
    return {kind for layer in module.modules() if (kind := kind_of(layer)) is not None and min(kind) >= NARROW}


def is_quick(module: nn.Module) -> bool:
    """Whether any of its convolutions is computed by minimal filtering."""
    return any(isinstance(layer, Quick) for layer in module.modules())


def gain(kind: Kind) -> float:
    """How many times as fast minimal filtering is: from the cache, or measured once in this process."""
    name = name_of(kind)
    if name not in _MEASURED:
        found = kept().get(name)
        if not (isinstance(found, float) and 0 <= found < math.inf):
            found = measured(kind)
        _MEASURED[name] = found
    return _MEASURED[name]


def remeasure(module: nn.Module) -> None:
    """Measure all kinds of convolutions of a network, and keep what is found for the runs to come.

    Raises DeblurError: the cache is not writable.
    """
    found = {name_of(kind): measured(kind) for kind in sorted(kinds_of(module))}
    _MEASURED.update(found)
    keep(found)


def name_of(kind: Kind) -> str:
    """Under which a measurement is kept."""
    return f"convolution of {kind[0]} to {kind[1]} channels, {machine(torch.device('cpu'))}"


@torch.no_grad()
def measured(kind: Kind) -> float:
    """Measure now: times as fast; 0 where this torch cannot compute it."""
    layer = nn.Conv2d(*kind, 3, padding=1)
    layer.weight.data = layer.weight.contiguous(memory_format=torch.channels_last)
    gains = []
    for size in PICTURES:
        noise = torch.rand(1, kind[0], *size, generator=torch.Generator().manual_seed(0))
        direct, filtered = timed_in_turn(layer, noise.contiguous(memory_format=torch.channels_last))
        gains.append(direct / filtered)
    return min(gains)


def timed_in_turn(layer: nn.Conv2d, x: Tensor) -> tuple[float, float]:
    """Seconds of a direct convolution, and of one by minimal filtering whose kernels are there already."""
    filtered = quickened(nn.Sequential(layer), {(layer.in_channels, layer.out_channels)})
    ways = (lambda: layer(x), lambda: filtered(x))
    found = [math.inf, math.inf]
    for way in ways:
        way()  # which makes ready what later calls use
    for _ in range(TRIES):
        found = [min(before, processor_seconds(way)) for before, way in zip(found, ways, strict=True)]
    return found[0], found[1]
