"""The stage of the fusion: the part of a video network that takes detail from neighbouring frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.device import Device
from deblurcli.errors import UsageError
from deblurcli.losses import LOSSES
from deblurcli.networks.spec import NetworkSpec
from deblurcli.optimiser import new_optimiser
from deblurcli.options.train import FusionTraining
from deblurcli.synth.paths import BlurRange
from deblurcli.train.data import Recorded, Source, clips
from deblurcli.train.material import Material
from deblurcli.train.recipe import Recipe, Setting, Trainee, chosen_spec, continued, crops, training_device
from deblurcli.train.validation import compared, validator

BASE = "plain-unet"
"""The single-frame network that fusions are built on."""

STEPS = 3
"""Consecutive frames of a clip that are fused, each with what the fusion made of the one before."""


def compared_clips(of: Material | Recorded, window: int, size: int, device: Device) -> Source:
    """A source of blurred clips for windows of ``window`` frames (count x T x 3 x size x size), and of the sharp frames
    that what becomes of the last windows is compared with: ``STEPS`` or, of recorded pairs, one."""
    frames, reach = window + STEPS - 1, window // 2
    draw = clips(of, frames, size, BlurRange(), device.where)

    def drawn(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        blurred, sharp = draw(count, rng)
        if isinstance(of, Material):
            return blurred, sharp[:, reach : reach + STEPS]
        middle = frames // 2  # whose sharp frame alone is there
        return blurred[:, : middle + reach + 1], sharp[:, middle : middle + 1]

    return drawn


def prepared_clips(draw: Source, base: nn.Module, device: Device) -> Source:
    """A source whose blurred frames come with the picture that ``base`` restores: count x T x 6 x H x W."""

    def drawn(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        blurred, sharp = draw(count, rng)
        with torch.no_grad(), device.autocast():
            frames = blurred.flatten(0, 1).contiguous(memory_format=torch.channels_last)
            pictures = base(frames).clamp(0, 1).unflatten(0, blurred.shape[:2])
        return torch.cat([blurred, pictures], 2), sharp

    return drawn


def fused(network: nn.Module, prepared: Tensor, window: int) -> Tensor:
    """What becomes of every window of clips that :func:`prepared_clips` draws, N x windows x 3 x H x W.

    As in a video, a window sees what became of the frame before, to which no gradient flows back.
    """
    encoded = [network.encoded(frame[:, :3], frame[:, 3:]) for frame in prepared.unbind(1)]  # type: ignore[operator]
    found: list[Tensor] = []
    for first in range(len(encoded) - window + 1):
        centre = first + window // 2
        found.append(network.fuse(encoded[first : first + window]))  # type: ignore[operator]
        encoded[centre] = network.encoded(encoded[centre][0], found[-1].detach())  # type: ignore[operator]
    return torch.stack(found, 1)


def fusion_trainee(options: FusionTraining, spec: NetworkSpec, setting: Setting) -> Trainee:
    """The video network at the start: its fusion new or from ``--from``, its single-frame part from either option.

    Raises: UsageError, WeightsError.
    """
    device = training_device(spec, setting.worker.device)
    named = options.start or options.deblurring or "default"
    start = setting.worker.place(named, "video" if options.start else "image", "deblur")
    goes_on = start.network == options.network
    if goes_on and not options.deblurring:
        return continued(start, device)
    if options.start and options.deblurring and not goes_on:
        raise UsageError("--from and --deblurring name two single-frame networks", "give one")
    base = setting.worker.place(options.deblurring, "image", "deblur") if goes_on and options.deblurring else start
    if base.network != BASE:
        raise UsageError(f"{base.name} holds a {base.network}", f"a fusion builds on a {BASE}")
    config = dict(start.loaded.config if goes_on else spec.config or {}) | {"base": base.loaded.config}
    torch.manual_seed(options.seed)
    module, origin = spec.build(**config), base.loaded.origin
    module.base.load_state_dict(base.module.state_dict())  # type: ignore[union-attr]
    if goes_on:
        module.fusion.load_state_dict(start.module.fusion.state_dict())  # type: ignore[union-attr]
        origin = f"{start.loaded.origin}, its single-frame part from {origin}"
    return Trainee(spec, device.place(module), config, origin, device)


def fusion_recipe(options: FusionTraining, setting: Setting) -> Recipe:
    """Train the fusion of a video network; its single-frame part stays as it is.

    Frames are restored once, when the crops are prepared, so that an iteration costs the fusion alone. ``--from`` names
    weights of a video network, or of a single-frame network to build on (the default's where it is not given). With the
    former, ``--deblurring`` puts another single-frame network in the place of its own. "Input" in the log is the
    single-frame result.

    Raises: as :func:`deblur_recipe`; UsageError: the network has no fusion, or there are two single-frame networks.
    """
    spec = chosen_spec(options, "deblur")
    if not spec.encodes:
        raise UsageError(f"{options.network} has no fusion to train", "give --network video-unet")
    start = fusion_trainee(options, spec, setting)
    device, base, fusion = start.device, start.module.base, start.module.fusion
    base.requires_grad_(False)
    criterion, largest = LOSSES[spec.loss], max(options.crops)

    def source(of: Material | Recorded) -> Source:
        return prepared_clips(compared_clips(of, spec.window, largest, device), base, device)  # type: ignore[arg-type]

    def loss(net: nn.Module, prepared: Tensor, sharp: Tensor) -> Tensor:
        found = fused(net, prepared, spec.window)[:, -sharp.shape[1] :]
        return criterion(found.flatten(0, 1), sharp.flatten(0, 1))

    def scored(net: nn.Module, prepared: Tensor, sharp: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        alone = prepared[:, -1 - spec.window // 2, 3:]
        return compared(fused(net, prepared, spec.window)[:, -1], alone, sharp[:, -1])

    material, ring, pairs = crops(options, setting, source, every=6)
    return Recipe(
        start,
        optimiser=new_optimiser(fusion, options.regime, options.rate),  # type: ignore[arg-type]
        ring=ring,
        loss=loss,
        validate=validator(pairs, device, scored),
        material=material,
    )
