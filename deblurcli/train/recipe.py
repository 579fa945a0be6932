"""The recipe of a stage: the network to train, where its crops come from, its loss, and how it is scored."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from deblurcli.device import Device
from deblurcli.errors import UsageError
from deblurcli.losses import LOSSES
from deblurcli.networks import NETWORKS
from deblurcli.networks.spec import NetworkSpec, Role
from deblurcli.options.train import DeblurTraining, JointTraining, TrainOptions
from deblurcli.restore.worker import Worker
from deblurcli.train.companion import Companion
from deblurcli.train.data import Material
from deblurcli.train.parallel import Peers
from deblurcli.train.ring import Ring
from deblurcli.train.validation import Scores
from deblurcli.weights.registry import suggestion


@dataclass(frozen=True)
class Setting:
    """Where a stage trains: on this worker, together with these processes."""

    worker: Worker
    peers: Peers
    command: str
    """The command line, for the card of the weights."""


@dataclass
class Trainee:
    """The network that a stage trains, on its device, before the first iteration."""

    spec: NetworkSpec
    module: nn.Module
    config: dict[str, Any]
    """Keyword arguments that ``module`` was built with."""
    origin: str
    """The weights that it starts from, for the card."""
    device: Device
    """Where, and in which precision, it is trained."""


@dataclass
class Recipe:
    """What differs between the stages; :func:`deblurcli.train.loop.train` does what they share."""

    trainee: Trainee
    optimiser: torch.optim.Optimizer
    ring: Ring
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor]
    """(module, blurred, sharp) -> the scalar to minimise; companions take their own steps inside."""
    validate: Callable[[nn.Module], Scores]
    """module -> its scores on held-out material."""
    card: dict[str, Any]
    companions: dict[str, Companion] = field(default_factory=dict)
    """Networks trained along inside ``loss``, by their names in the table of networks."""


def chosen_spec(options: TrainOptions, role: Role) -> NetworkSpec:
    """Facts about ``--network``. Raises UsageError: it is unknown, or does not have this role."""
    if options.network not in NETWORKS:
        raise UsageError(f"no network is called {options.network!r}", suggestion(options.network, NETWORKS))
    if (spec := NETWORKS[options.network]).role != role:
        raise UsageError(f"{options.network} is a {spec.role} network", f"this stage trains {role} networks")
    return spec


def training_device(spec: NetworkSpec, device: Device) -> Device:
    """The device in a precision to train the network in; never float16, whose gradients underflow without scaling."""
    return device.limited_to([name for name in spec.dtypes if name != "fp16"])


def trainee(options: TrainOptions, setting: Setting, role: Role) -> Trainee:
    """A new network, or the one of ``--from``, on the worker's device.

    Raises:
        UsageError: ``--network`` does not fit the stage, ``--from`` holds another one, or ``--blocks`` does not fit.
        WeightsError: ``--from`` names no usable weights.
    """
    spec, blocks = chosen_spec(options, role), getattr(options, "blocks", None)
    device = training_device(spec, setting.worker.device)
    if options.start:
        placed = setting.worker.place(options.start, "meta" if role == "reblur" else "image", role)
        if placed.network != options.network:
            raise UsageError(f"{options.start} holds a {placed.network}", f"give --network {placed.network}")
        module = copy.deepcopy(placed.module).requires_grad_(True)
        return Trainee(spec, module, placed.loaded.config, placed.loaded.origin, device)
    config = dict(spec.config or {})
    if blocks is not None:
        if not isinstance(config.get("blocks"), int):
            raise UsageError(f"{options.network} has no number of blocks to choose", "leave --blocks out")
        config["blocks"] = blocks
    torch.manual_seed(options.seed)
    return Trainee(spec, device.place(spec.build(**config)), config, "random weights", device)


def picture_of(pictures: Tensor | Sequence[Tensor]) -> Tensor:
    """The picture that a deblurring network restores: the first of the largest among its outputs."""
    return pictures if isinstance(pictures, Tensor) else max(pictures, key=lambda picture: picture.shape[-1])


def chosen_loss(options: DeblurTraining | JointTraining, spec: NetworkSpec) -> Callable[[Any, Tensor], Tensor]:
    """``--loss`` as a function of the network's :func:`outputs` and the sharp pictures."""
    if options.loss == "own":
        return LOSSES[spec.loss]
    loss = LOSSES[options.loss]
    return lambda pictures, sharp: loss(picture_of(pictures), sharp)


def card(options: TrainOptions, setting: Setting, material: Material, origin: str) -> dict[str, Any]:
    """What the card of the weights says before they are trained; the loop adds iterations, minutes and scores."""
    return {
        "command": setting.command,
        "data": str(material),
        "start": origin,
        "seed": options.seed,
        "licence": "MIT",
    }
