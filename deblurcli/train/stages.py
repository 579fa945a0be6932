"""The training stages: what each network learns from, and with which losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.device import Device
from deblurcli.errors import UsageError
from deblurcli.losses import LOSSES, charbonnier
from deblurcli.networks.spec import NetworkSpec
from deblurcli.options import TrainOptions
from deblurcli.report import Reporter
from deblurcli.synth import BlurRange
from deblurcli.train.companion import CRITIC, judged, new_critic
from deblurcli.train.data import Material, Source, centred, clips, load_material, reblur_clips, stills
from deblurcli.train.deblur import train_deblur
from deblurcli.train.joint import reblurring_loss, started_module, train_joint
from deblurcli.train.loop import Stage, run_stage
from deblurcli.train.meta import train_meta
from deblurcli.train.network import card, chosen_spec, started
from deblurcli.train.optim import Muon
from deblurcli.train.parallel import Workers
from deblurcli.train.ring import CropRing
from deblurcli.train.validation import VALIDATION_SEED, compared, validator
from deblurcli.weights.load import load_chosen

ADVERSARIAL_WEIGHT = 0.001
BASE = "plain-unet"
"""The single-frame network that fusions are built on."""
SURROUNDINGS = 32
"""Pixels around a crop that a deblurring network is shown, too."""


def restored(draw: Source, base: nn.Module, device: Device) -> Source:
    """A source whose blurred frames come with the picture that ``base`` restores: count x T x 6 x H x W."""

    def drawn(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        blurred, sharp = draw(count, rng)
        with torch.no_grad(), device.autocast():
            frames = blurred.flatten(0, 1).contiguous(memory_format=torch.channels_last)
            pictures = base(frames).clamp(0, 1).unflatten(0, blurred.shape[:2])
        return torch.cat([blurred, pictures], 2), sharp

    return drawn


def fuse(network: nn.Module, prepared: Tensor) -> Tensor:
    """The restored centre frames of clips that :func:`restored` has prepared, N x 3 x H x W."""
    return network.fuse([network.encoded(frame[:, :3], frame[:, 3:]) for frame in prepared.unbind(1)])  # type: ignore


def fusion_to_train(options: TrainOptions, spec: NetworkSpec) -> tuple[nn.Module, dict[str, Any], str]:
    """A video network as :func:`train_fusion` starts, with its config, and its origin for the card.

    Raises: UsageError, WeightsError.
    """
    named = options.start or options.deblurring or "default"
    start = load_chosen(named, "video" if options.start else "image", "deblur")
    goes_on = start.network == options.network
    if goes_on and not options.deblurring:
        return start.module, start.config, start.origin
    if options.start and options.deblurring and not goes_on:
        raise UsageError("--from and --deblurring name two single-frame networks", "give one")
    base = load_chosen(options.deblurring, "image", "deblur") if goes_on and options.deblurring else start
    if base.network != BASE:
        raise UsageError(f"{base.name} holds a {base.network}", f"a fusion builds on a {BASE}")
    config = dict(start.config if goes_on else spec.config or {}) | {"base": base.config}
    torch.manual_seed(options.seed)
    module = spec.build(**config)
    module.base.load_state_dict(base.module.state_dict())  # type: ignore[union-attr]
    if not goes_on:
        return module, config, base.origin
    module.fusion.load_state_dict(start.module.fusion.state_dict())  # type: ignore[union-attr]
    return module, config, f"{start.origin}, its single-frame part from {base.origin}"


def train_fusion(
    options: TrainOptions, device: Device, workers: Workers, report: Reporter, command: str
) -> dict[str, Any]:
    """Train what a video network takes from neighbouring frames; its single-frame part stays as it is.

    Frames are restored once, when the crops are prepared, so that an iteration costs the fusion alone. ``--from`` names
    weights of a video network, or those of a single-frame network to build on (if not given, the default's). With the
    former, ``--deblurring`` puts another single-frame network in the place of its own. "Input" in the log is the
    single-frame result.

    Raises: as :func:`train_deblur`; UsageError: the network has no fusion, or there are two single-frame networks.
    """
    spec = chosen_spec(options, "deblur")
    if not spec.encodes:
        raise UsageError(f"{options.network} has no fusion to train", "give --network video-unet")
    material, held_out = load_material(options.data).split()
    module, config, origin = fusion_to_train(options, spec)
    module = device.place(module)
    module.base.requires_grad_(False)
    criterion, ranges, largest = LOSSES[spec.loss], BlurRange(), max(options.crops)

    def source(of: Material) -> Source:
        drawn = centred(clips(of, spec.window, largest, ranges, device.where))
        return restored(drawn, module.base, device)  # type: ignore[arg-type]

    pairs = source(held_out)(48, np.random.default_rng(VALIDATION_SEED))
    stage = Stage(
        network=options.network,
        module=module,
        config=config,
        optimiser=Muon(module.fusion, options.rate),  # type: ignore[arg-type]
        ring=CropRing(
            source(material),
            capacity=options.ring, group=6, every=6, first=min(64, options.ring // 6), seed=workers.seed(options.seed),
        ),
        loss=lambda net, prepared, sharp: criterion(fuse(net, prepared), sharp),
        validate=validator(pairs, device, lambda net, b, s: compared(fuse(net, b), b[:, spec.window // 2, 3:], s)),
        card=card(options, material, origin, command),
        export=options.out / f"{options.network}.safetensors",
        workers=workers,
    )  # fmt: skip
    return run_stage(stage, options, device, report)


def train_reblur(
    options: TrainOptions, device: Device, workers: Workers, report: Reporter, command: str
) -> dict[str, Any]:
    """Train a reblurring network and its critic: five sharp frames in, the blurred middle one out.

    Charbonnier and adversarial losses (meta-transferring paper, section 3.1 and supplement), and the cycle loss through
    the default deblurring network if it is given a weight. The weights land in ``options.out``, one file for the
    network and one for the critic.

    Raises: as :func:`train_deblur`.
    """
    chosen_spec(options, "reblur")
    module, config, origin = started(options, device, "reblur")
    material, held_out = load_material(options.data).split()
    critic = new_critic(device)
    ranges, largest = BlurRange(layered=0.3, compressed=0.15), max(options.crops)
    ring = CropRing(
        reblur_clips(material, largest, ranges, device.where),
        capacity=options.ring, group=4, every=4, first=min(24, options.ring // 4), seed=workers.seed(options.seed),
    )  # fmt: skip
    pairs = reblur_clips(held_out, largest, ranges, device.where)(24, np.random.default_rng(VALIDATION_SEED))

    adversarial = ADVERSARIAL_WEIGHT if options.adversarial_weight is None else options.adversarial_weight
    deblur = None
    if options.cycle_weight:
        deblur = device.place(load_chosen("default", "image", "deblur").module).requires_grad_(False)

    def loss(net: nn.Module, blurred: Tensor, sharp: Tensor) -> Tensor:
        fake = net(sharp)
        total = charbonnier(fake, blurred)
        if adversarial:
            total = total + adversarial * judged(critic, blurred, fake, workers)
        if deblur is not None:
            again = deblur(fake.clamp(0, 1).contiguous(memory_format=torch.channels_last))
            total = total + options.cycle_weight * charbonnier(again, sharp[:, sharp.shape[1] // 2])
        return total

    stage = Stage(
        network=options.network,
        module=module,
        config=config,
        optimiser=Muon(module, options.rate, aside=("conv1_e", "decode", "bias_table")),
        ring=ring,
        loss=loss,
        validate=validator(pairs, device, lambda net, b, s: compared(net(s), s[:, s.shape[1] // 2], b)),
        card=card(options, material, origin, command),
        export=options.out / f"{options.network}.safetensors",
        companions={CRITIC: critic},
        workers=workers,
    )
    return run_stage(stage, options, device, report)


def left(draw: Source, deblur: nn.Module, device: Device) -> Source:
    """A source of pairs for a reblurring module: what a deblurring network makes of blurred and of sharp pictures
    (count x 2 x 3 x H x W), and the blurred ones, all without their ``SURROUNDINGS``."""

    def drawn(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        blurred, sharp = draw(count, rng)
        with torch.no_grad(), device.autocast():
            made = deblur(torch.cat([blurred, sharp]).contiguous(memory_format=torch.channels_last))
        inner = (..., slice(SURROUNDINGS, -SURROUNDINGS), slice(SURROUNDINGS, -SURROUNDINGS))
        return torch.stack(made.chunk(2), 1)[inner], blurred[inner]

    return drawn


def train_module(
    options: TrainOptions, device: Device, workers: Workers, report: Reporter, command: str
) -> dict[str, Any]:
    """Train a reblurring module for a deblurring network that stays as it is (``--deblurring``).

    The losses are those of joint training (:func:`deblurcli.train.joint.reblurring_loss`). What the deblurring network
    makes of the crops is computed when they are prepared, so that an iteration costs the module alone, which therefore
    looks at whole crops, at those with more blur more often. They have no noise and no compression, which cannot be
    brought back and drown what can, and are not rounded: what tells blur from none is less than a code value.
    "Input" in the log is the restored picture as it is, against the blurred one.

    Raises: as :func:`train_deblur`; UsageError: the deblurring network takes several frames.
    """
    chosen_spec(options, "reblur-image")
    restorer = load_chosen(options.deblurring or "default", "image", "deblur")
    if restorer.spec.window > 1:
        raise UsageError(f"{restorer.name} takes {restorer.spec.window} frames", "give a network of one frame")
    material, held_out = load_material(options.data).split()
    module, origin = started_module(options.start, options, device)
    deblur = device.place(restorer.module).requires_grad_(False)
    ranges, largest = BlurRange(noisy=0.0, compressed=0.0), max(options.crops) + 2 * SURROUNDINGS

    def source(of: Material) -> Source:
        return left(stills(of, largest, ranges, device.where), deblur, device)

    def loss(net: nn.Module, made: Tensor, blurred: Tensor) -> Tensor:
        restored, pseudo_sharp = (t.contiguous(memory_format=torch.channels_last) for t in (made[:, 0], made[::2, 1]))
        return reblurring_loss(net, net(restored), blurred, pseudo_sharp)

    pairs = source(held_out)(48, np.random.default_rng(VALIDATION_SEED))
    stage = Stage(
        network=options.network,
        module=module.module,
        config=module.config,
        optimiser=module.optimiser,
        ring=CropRing(
            source(material),
            capacity=options.ring, group=6, every=6, first=min(64, options.ring // 6), seed=workers.seed(options.seed),
            precise=True, tries=3,
        ),
        loss=loss,
        validate=validator(pairs, device, lambda net, b, s: compared(net(b[:, 0]), b[:, 0], s)),
        card=card(options, material, origin, command) | {"deblurring": restorer.origin},
        export=options.out / f"{options.network}.safetensors",
        workers=workers,
    )  # fmt: skip
    return run_stage(stage, options, device, report)


STAGES: dict[str, Callable[..., dict[str, Any]]] = {
    "deblur": train_deblur,
    "joint": train_joint,
    "module": train_module,
    "meta": train_meta,
    "fusion": train_fusion,
    "reblur": train_reblur,
}
