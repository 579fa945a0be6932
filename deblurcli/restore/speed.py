"""How fast a network is on this machine: seconds a pixel, measured within about a second, and kept in the cache.

What is kept (:mod:`deblurcli.restore.measured`) is by network, device, threads, precision and version of torch.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from deblurcli.device import Device
from deblurcli.losses import LOSSES
from deblurcli.networks.spec import outputs, padded
from deblurcli.restore.measured import keep, kept, machine, processor_seconds
from deblurcli.restore.tiles import Restorer, is_out_of_memory, release_memory
from deblurcli.restore.worker import Placed

Work = Literal["restoring", "updating"]
"""A frame restored, tiles and padding left out; or an update of the part that adapts: forward, backward, optimiser."""
SIDES: dict[Work, tuple[int, ...]] = {"restoring": (128, 224), "updating": (128, 192)}
"""Sides in pixels of the pictures that are tried, while they are quick: small ones are slower a pixel."""
TRIES = (1, 2)
"""Times that a picture of each side is tried. The quickest counts, since the others are disturbed by what else the
machine does; the smaller picture only foretells how long the larger one takes, and sets things up."""
MOST = 0.8
"""Seconds that a larger picture may take, as far as the smaller one foretells."""
PATIENCE = 2.0
"""Seconds after which no larger picture is tried: the network is very slow, or the machine has much else to do."""

_MEASURED: dict[tuple[str, Work], float] = {}


def speed_of(network: Placed, work: Work) -> float:
    """Seconds a pixel of a network: from the cache, or measured once in this process."""
    key = (key_of(network), work)
    if key not in _MEASURED:
        found = cached(network, work)
        _MEASURED[key] = measured(network, work) if found is None else found
    return _MEASURED[key]


def measured(network: Placed, work: Work) -> float:
    """Measure now, on noise: seconds a pixel; infinite where memory is not enough for the smallest picture.

    Takes some tenths of a second, up to a few where the network is very slow.
    """
    ready = _restorations(network) if work == "restoring" else _updates(network)
    found, begun = math.inf, time.perf_counter()
    for side, tries in zip(SIDES[work], TRIES, strict=True):
        late = time.perf_counter() - begun > PATIENCE
        if found < math.inf and (late or found * side**2 > MOST):
            break
        try:
            act = ready(side)
            if network.device.where.type != "cpu":
                _timed(act, network.device)  # a card's first call sets things up
            spent = min(_timed(act, network.device) for _ in range(tries))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            release_memory()
            break
        found = min(found, spent / side**2)
    return found


def _timed(act: Callable[[], object], device: Device) -> float:
    """The seconds that something takes."""
    if device.where.type == "cpu":
        return processor_seconds(act)
    started = time.perf_counter()
    act()
    _wait_for(device)
    return time.perf_counter() - started


def _noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def _restorations(network: Placed) -> Callable[[int], Callable[[], object]]:
    """The restoration of one more frame of a given side; what a network encodes of its neighbours is there."""
    restorer = Restorer(network.module, network.spec, network.device, "off")

    def restoration(side: int) -> Callable[[], object]:
        frames = [_noise(3, side, side) for _ in range(restorer.window)]
        restorer(frames)

        def restore() -> None:
            frames.append(frames.pop(0).clone())
            restorer(frames)

        return restore

    return restoration


def _updates(network: Placed) -> Callable[[int], Callable[[], object]]:
    """An update of a copy of the part that adapts, on a piece of a given side."""
    spec, device = network.spec, network.device.limited_to(("fp32", "bf16"))
    module = copy.deepcopy(network.module.get_submodule(spec.alone)).requires_grad_(True)
    moments = [(weights, torch.zeros_like(weights), torch.zeros_like(weights)) for weights in module.parameters()]
    count = 1 if spec.alone else spec.window

    def update(side: int) -> Callable[[], object]:
        clip = padded(_noise(1, count, 3, side, side), spec.multiple_of, spec.min_size).to(device.where)
        given = clip.contiguous() if count > 1 else clip[:, 0].contiguous(memory_format=torch.channels_last)

        # Adam's arithmetic: torch's first optimiser imports its compiler, which takes longer than all this.
        def step() -> None:
            with device.autocast():
                loss: Tensor = LOSSES[spec.loss](outputs(module, given), clip[:, count // 2])
            loss.backward()
            with torch.no_grad():
                for weights, mean, square in moments:
                    if (slope := weights.grad) is not None:
                        mean.lerp_(slope, 0.1)
                        square.mul_(0.999).addcmul_(slope, slope, value=0.001)
                        weights.addcdiv_(mean, square.sqrt().add_(1e-8), value=-1e-12)
                        weights.grad = None

        return step

    return update


def _wait_for(device: Device) -> None:
    if device.where.type == "cuda":
        torch.cuda.synchronize(device.where)
    elif device.where.type == "mps":
        torch.mps.synchronize()


def key_of(network: Placed) -> str:
    """On what a speed depends."""
    config = json.dumps(network.loaded.config, sort_keys=True)
    way = f"{network.device.precision}{' by minimal filtering' if network.quick else ''}"
    return f"{network.network} {config}, {way}, {machine(network.device.where)}"


def cached(network: Placed, work: Work) -> float | None:
    """What was kept for this network, on such a machine; None where there is nothing that can be used."""
    found = kept().get(key_of(network))
    found = found.get(work) if isinstance(found, dict) else None
    return found if isinstance(found, float) and 0 < found < math.inf else None


def remeasured(network: Placed) -> dict[Work, float]:
    """Measure a network and keep what is found for the runs to come. Raises DeblurError: the cache is not writable."""
    found: dict[Work, float] = {work: measured(network, work) for work in get_args(Work)}
    keep({key_of(network): found})
    return found
