"""The recipe of a stage: the network to train, where its crops come from, its loss, and how it is scored."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.device import Device
from deblurcli.errors import UsageError
from deblurcli.losses import LOSSES, picture_of
from deblurcli.networks import NETWORKS
from deblurcli.networks.spec import NetworkSpec, Role
from deblurcli.options.meta_training import MetaTraining
from deblurcli.options.train import DeblurTraining, JointTraining
from deblurcli.options.training import LOSSES_OF_OUTPUTS, TrainOptions, of_pairs
from deblurcli.restore.worker import Placed, Worker
from deblurcli.train.companion import Companion
from deblurcli.train.data import Recorded, Source
from deblurcli.train.material import Material, load_material
from deblurcli.train.parallel import Peers
from deblurcli.train.ring import CropRing, Ring
from deblurcli.train.validation import PSNR, VALIDATION_SEED, Measure, Scores
from deblurcli.weights.registry import suggestion

COMMANDS: dict[str, str] = {
    "deblur": "image",
    "reblur": "meta",
    "reblur-image": "tta",
    "flow": "flow",
    "translate": "image",
    "kernel": "",
}
"""The registry's set of weights in which ``--from default`` is looked up, by the role of the network; empty where no
such network is bundled, and ``default`` is refused."""


TASK = "training"

MIN_GROUP, CROPS_PER_PAIR, EVERY = 6, 16, 4
"""On a graphics card: pairs made for an iteration, at least, how many crops are trained on for each, and the iterations
whose pairs are made at a time: making takes thousands of small steps, as many for many pairs as for a few."""


@dataclass(frozen=True)
class Setting:
    """Where a stage trains: on this worker, together with these processes."""

    worker: Worker
    peers: Peers
    command: str
    """The command line, for the card of the weights."""
    task: str = TASK
    """What the progress of training is called."""


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
    material: Material | Recorded | str
    """The training pictures, or words about them, for the card of the weights."""
    origins: dict[str, str] = field(default_factory=dict)
    """Other networks that the stage starts or learns from, by what the card calls them."""
    companions: dict[str, Companion] = field(default_factory=dict)
    """Networks trained along inside ``loss``, by their names in the table of networks."""
    kept: dict[str, nn.Module] = field(default_factory=dict)
    """Other networks that the state of a run holds, so that it goes on exactly; none is exported."""
    measure: Measure = PSNR
    """What ``validate`` scores by."""
    pace: Callable[[float], float] | None = None
    """progress (0 to 1) -> the share of the peak rate; it sets the rates itself. Without it, the schedule is that of
    ``--recipe``."""
    files: tuple[str, ...] = ()
    """Other files that are written to the run folder."""
    written: Callable[[nn.Module, Scores], tuple[nn.Module, str]] = lambda module, scores: (module, "")
    """(module, its scores) -> what is written of it, and what is to be said of that."""
    futile: str = ""
    """Why there is nothing to learn: the network is written as it starts."""


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


def continued(placed: Placed, device: Device) -> Trainee:
    """A copy of a network to train on."""
    module = copy.deepcopy(placed.module).requires_grad_(True)
    return Trainee(placed.spec, module, placed.loaded.config, placed.loaded.origin, device)


def trainee(setting: Setting, options: TrainOptions, role: Role) -> Trainee:
    """The network ``--network``, new or with the weights of ``--from``, on the worker's device.

    Raises:
        UsageError: ``--network`` does not fit the stage, ``--from`` holds another one, or ``--blocks`` does not fit.
        WeightsError: ``--from`` names no usable weights.
    """
    chosen_spec(options, role)
    blocks = getattr(options, "blocks", None) or getattr(options, "reblur_blocks", None)
    return started(setting, options.network, options.start, options.seed, blocks)


def started(
    setting: Setting, network: str, start: str | None, seed: int, blocks: int | None = None, **config: Any
) -> Trainee:
    """A network of the table, new or with the weights ``start``; raises as :func:`trainee`.

    A new one is built with ``config`` in place of its own.
    """
    spec = NETWORKS[network]
    device = training_device(spec, setting.worker.device)
    if start:
        placed = setting.worker.place(start, COMMANDS[spec.role], spec.role)
        if placed.network != network:
            raise UsageError(f"{start} holds a {placed.network}", f"give --network {placed.network}")
        return continued(placed, device)
    config = {**(spec.config or {}), **config}
    if blocks is not None:
        if not isinstance(config.get("blocks"), int):
            raise UsageError(f"{network} has no number of blocks to choose", "leave --blocks out")
        config["blocks"] = blocks
    torch.manual_seed(seed)
    return Trainee(spec, device.place(spec.build(**config)), config, "random weights", device)


def restorer_of_frames(setting: Setting, chosen: str | None) -> Placed:
    """A single-frame network that a stage learns with; the default where none is chosen.

    Raises UsageError: it takes several frames; WeightsError: there are no such weights.
    """
    found = setting.worker.place(chosen or "default", "image", "deblur")
    if found.spec.window > 1:
        raise UsageError(f"{found.name} takes {found.spec.window} frames", "give a network of one frame")
    return found


def learnt_from(options: TrainOptions) -> Any:
    """The material of ``--data``, or the pairs of ``--pairs``; both can be split. Raises InputError: there is none."""
    if options.data is not None:
        return load_material(options.data)
    from deblurcli.train.recorded import recorded_pairs

    return recorded_pairs(*of_pairs(options))


def crops(
    options: TrainOptions, setting: Setting, source: Callable[[Any], Source], held_out: int = 48, **ring: Any
) -> tuple[Any, CropRing, tuple[Tensor, Tensor]]:
    """Training material or pairs, the ring of crops from it, and ``held_out`` pairs from other material to score by.

    Args:
        source: makes a source of pairs from material.
        **ring: more arguments of :class:`CropRing`.

    Raises InputError: no usable training pictures.
    """
    material, kept = learnt_from(options).split()
    if not isinstance(material, Material):
        ring |= {"expect": material.expect}
    where = setting.worker.device.where
    if where.type != "cpu":  # the batches are larger, and pairs are cheaper in larger groups
        ring |= {"every": EVERY, "group": EVERY * max(MIN_GROUP, options.batch // CROPS_PER_PAIR)}
    seed = setting.peers.seed(options.seed)
    made = CropRing(source(material), capacity=options.ring, seed=seed, where=where, **ring)
    return material, made, source(kept)(held_out, np.random.default_rng(VALIDATION_SEED))


def chosen_loss(
    options: DeblurTraining | JointTraining | MetaTraining, spec: NetworkSpec
) -> Callable[[Any, Tensor], Tensor]:
    """``--loss`` as a function of the network's :func:`outputs` and the sharp pictures."""
    if options.loss == "own":
        return LOSSES[options.regime.loss or spec.loss]
    loss = LOSSES[options.loss]
    if options.loss in LOSSES_OF_OUTPUTS:
        return loss
    return lambda pictures, sharp: loss(picture_of(pictures), sharp)
