"""The network that a stage trains, new or from weights, and what its card says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deblurcli.device import Device
from deblurcli.errors import UsageError
from deblurcli.losses import LOSSES
from deblurcli.networks import NETWORKS
from deblurcli.networks.spec import NetworkSpec, Role
from deblurcli.options import TrainOptions
from deblurcli.train.data import Material
from deblurcli.weights.choose import load_chosen
from deblurcli.weights.registry import suggestion


def chosen_spec(options: TrainOptions, role: Role) -> NetworkSpec:
    """What is known of ``--network``, which must be of this role. Raises UsageError."""
    if options.network not in NETWORKS:
        raise UsageError(f"no network is called {options.network!r}", suggestion(options.network, NETWORKS))
    if (spec := NETWORKS[options.network]).role != role:
        raise UsageError(f"{options.network} is a {spec.role} network", f"this stage trains {role} networks")
    return spec


def started(options: TrainOptions, device: Device, role: Role) -> tuple[nn.Module, dict[str, Any], str]:
    """A new network, or the one of ``--from``, on the device; with its configuration and its origin for the card.

    Raises:
        UsageError: ``--from`` holds another network than ``--network``.
        WeightsError: ``--from`` names no usable weights.
    """
    if options.start:
        loaded = load_chosen(options.start, "meta" if role == "reblur" else "image", role)
        if loaded.network != options.network:
            raise UsageError(f"{options.start} holds a {loaded.network}", f"give --network {loaded.network}")
        return device.place(loaded.module), loaded.config, loaded.origin
    spec = NETWORKS[options.network]
    torch.manual_seed(options.seed)
    config = dict(spec.config or {})
    return device.place(spec.build(**config)), config, "random weights"


def picture_of(pictures: Tensor | Sequence[Tensor]) -> Tensor:
    """What a deblurring network restores: of several outputs the largest, or the first of those."""
    return pictures if isinstance(pictures, Tensor) else max(pictures, key=lambda picture: picture.shape[-1])


def chosen_loss(options: TrainOptions, spec: NetworkSpec) -> Callable[[Any, Tensor], Tensor]:
    """``--loss`` as a function of the network's :func:`outputs` and the sharp pictures."""
    if options.loss == "own":
        return LOSSES[spec.loss]
    loss = LOSSES[options.loss]
    return lambda pictures, sharp: loss(picture_of(pictures), sharp)


def card(options: TrainOptions, material: Material, origin: str, command: str) -> dict[str, Any]:
    """What is known of the weights before they are trained; the loop adds what came out."""
    return {
        "command": command,
        "data": str(material),
        "start": origin,
        "seed": options.seed,
        "licence": "MIT",
    }
