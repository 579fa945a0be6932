"""Pseudo pairs: what a network is shown of a patch, what it is to restore it to, and its loss on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.adaptation.replay import replay_blur
from deblurcli.adaptation.support import WINDOW, SupportPatch
from deblurcli.device import Device
from deblurcli.losses import LOSSES
from deblurcli.networks import NetworkSpec
from deblurcli.networks.spec import outputs, padded
from deblurcli.options.meta import MetaOptions
from deblurcli.options.survey import MIN_PATCH, PATCH_GRID

Reblur = Callable[[Tensor, Tensor, np.random.Generator], tuple[Tensor, Tensor, int]]
"""A window (1 x 5 x 3 x S x S) and its pseudo-sharp centre (1 x 3 x S x S) to a pseudo pair: the blurred centre, the
picture to restore it to (1 x 3 x S x S each), and the width of the border, in pixels, that shows what lies outside of
the patch."""


MARGIN = 16
"""Pixels around a piece of a patch from where blur may bring something in."""


@dataclass(frozen=True)
class Pair:
    """A pseudo pair in the middle of a window of the video."""

    window: Tensor
    """1 x 5 x 3 x S x S in [0, 1]."""
    blurred: Tensor
    """1 x 3 x S x S in [0, 1], instead of the middle of the window."""
    target: Tensor
    """What it is to be restored to, 1 x 3 x S x S in [0, 1]."""
    border: int = 0
    """Pixels at each edge that do not count, since they show what lies outside."""


def draw_pair(
    window: Tensor,
    target: Tensor,
    side: int,
    reblur: Reblur,
    rng: np.random.Generator,
    shares: tuple[float, float] | None = None,
) -> Pair:
    """A pseudo pair made of a random piece of a patch, which is blurred with what lies around it.

    Args:
        window: 1 x 5 x 3 x S x S in [0, 1].
        target: its pseudo-sharp centre, 1 x 3 x S x S in [0, 1].
        side: of the piece in pixels, at most S.
        shares: chances that the piece stays as the video shows it, and that it gets blur of every kind; where None,
            neither, and nothing is drawn for it.
    """
    size = window.shape[-1]
    margin = min(MARGIN, (size - side) // 2)
    wide = side + 2 * margin
    y, x = (int(rng.integers(size - wide + 1)) for _ in range(2))
    window, target = cut_at(window, y, x, wide), cut_at(target, y, x, wide)
    identity, replay = shares or (0.0, 0.0)
    chance = float(rng.random()) if shares else 1.0
    if chance < identity:
        blurred, border = window[:, WINDOW // 2], 0
    elif chance < identity + replay:
        blurred, target, border = replay_blur(target, rng)
    else:
        blurred, target, border = reblur(window, target, rng)
    window, blurred, target = (centre_crop(pictures, side) for pictures in (window, blurred, target))
    return Pair(window, blurred, target, max(border - margin, 0))


def network_input(frames: int, window: Tensor, centre: Tensor) -> Tensor:
    """What a network of ``frames`` frames sees when ``centre`` (N x 3 x S x S) stands in the middle of a window of the
    video (N x 5 x 3 x S x S)."""
    if frames == 1:
        return centre.contiguous(memory_format=torch.channels_last)
    middle, reach = window.shape[1] // 2, frames // 2
    before, after = window[:, middle - reach : middle], window[:, middle + 1 : middle + reach + 1]
    return torch.cat([before, centre[:, None], after], 1)


def trainable(network: nn.Module, spec: NetworkSpec, part: str) -> list[nn.Parameter]:
    """The parameters to adapt.

    Args:
        part: ``all`` of the part of the network that adapts, its ``biases`` and the gains of its norms, which are
            vectors, or the ``fusion`` as well: the layers that join the frames of a window.
    """
    adapting = network if part == "fusion" else network.get_submodule(spec.alone)
    return [p for p in adapting.parameters() if part != "biases" or p.ndim <= 1]


def fused(network: nn.Module, spec: NetworkSpec, window: Tensor, centre: Tensor) -> Tensor:
    """What a network with a part that restores each frame alone makes of ``centre`` (N x 3 x S x S) in the middle of a
    window (N x 5 x 3 x S x S). Its neighbours are as the video has them, and no gradient is spent on them."""
    middle, reach = WINDOW // 2, spec.window // 2
    with torch.no_grad():
        encoded = [network.encode(window[:, at]) for at in range(middle - reach, middle + reach + 1)]  # type: ignore[operator]
    encoded[reach] = network.encode(centre.clamp(0, 1))  # type: ignore[operator]
    found = network.fuse(encoded)  # type: ignore[operator]
    assert isinstance(found, Tensor)
    return found


def adapting_input(spec: NetworkSpec, window: Tensor, centre: Tensor) -> Tensor:
    """What a network, or its part that adapts, sees of N windows of a video (N x 5 x 3 x S x S) whose middle frame is
    replaced by ``centre`` (N x 3 x S x S)."""
    return network_input(1 if spec.alone else spec.window, window, centre.clamp(0, 1))


def restore_clips(network: nn.Module, spec: NetworkSpec, clips: Tensor, device: Device) -> Tensor:
    """The middle frames of N clips (N x 5 x 3 x S x S) as the whole network restores them, N x 3 x S x S.

    The layers that join the frames of a window do not adapt, but may do worse with what the adapted part gives them:
    so the whole network is judged.
    """
    height, width = clips.shape[-2:]
    clips = padded(clips, spec.multiple_of, spec.min_size)
    with device.autocast():
        return network(network_input(spec.window, clips, clips[:, WINDOW // 2]))[..., :height, :width]


@torch.no_grad()
def pseudo_sharp(
    network: nn.Module, spec: NetworkSpec, patch: SupportPatch, options: MetaOptions, device: Device
) -> Tensor:
    """The target of a patch, 1 x 3 x S x S in [0, 1]: its sharpest moment, restored or as it is.

    The sharpest moment is still a little blurred and noisy, and would teach the network to leave that in. So it is
    restored first, by the part of the unadapted network that adapts, unless ``options`` say otherwise.
    """
    window = patch.clip(device.where)
    return restored_alone(network, spec, window, device) if options.restores_patches else window[:, WINDOW // 2]


@torch.no_grad()
def restored_alone(network: nn.Module, spec: NetworkSpec, window: Tensor, device: Device) -> Tensor:
    """The middle of windows (N x 5 x 3 x S x S) as the part of a network that adapts restores it, N x 3 x S x S."""
    with device.autocast():
        found = network.get_submodule(spec.alone)(adapting_input(spec, window, window[:, WINDOW // 2]))
    return found.float().clamp(0, 1)


def centre_crop(pictures: Tensor, side: int) -> Tensor:
    """The middle of some pictures (... x S x S), ``side`` pixels wide and high; themselves where that is S."""
    start = (pictures.shape[-1] - side) // 2
    return pictures[..., start : start + side, start : start + side] if start > 0 else pictures


def halved(side: int) -> int:
    """Half the side of a piece, in pixels, that networks take; 0 where it would be too small to learn from."""
    half = side // 2 // PATCH_GRID * PATCH_GRID
    return half if half >= MIN_PATCH else 0


def cut_at(pictures: Tensor, y: int, x: int, side: int) -> Tensor:
    """A piece of some pictures (... x S x S), ``side`` pixels wide and high."""
    return pictures[..., y : y + side, x : x + side]


def without_border(picture: Tensor, border: int, size: int) -> Tensor:
    """The inside of a picture at any scale, without a border that has ``border`` pixels where its side has ``size``."""
    width = picture.shape[-1]
    cut = border * width // size
    return picture[..., cut : width - cut, cut : width - cut]


def deblur_loss(
    network: nn.Module,
    spec: NetworkSpec,
    window: Tensor,
    blurred: Tensor,
    target: Tensor,
    border: int,
    device: Device,
    *,
    fusing: bool = False,
    criterion: Callable[[Any, Tensor], Tensor] | None = None,
) -> Tensor:
    """The network's own loss, over all its outputs, on pseudo pairs (N x 3 x S x S) in the middle of windows.

    ``border`` pixels do not count or, so that the border ends between pixels at all scales, a few more. ``fusing``: of
    the whole network, where a part of it restores each frame alone. ``criterion``: another loss than its own.
    """
    with device.autocast():
        if fusing and spec.alone:
            found: Tensor | list[Tensor] = fused(network, spec, window, blurred)
        else:
            found = outputs(network.get_submodule(spec.alone), adapting_input(spec, window, blurred))
    pictures, size = [found] if isinstance(found, Tensor) else found, window.shape[-1]
    step = size // min(picture.shape[-1] for picture in pictures)
    border = -(-border // step) * step
    inner = [without_border(picture, border, size) for picture in pictures]
    criterion = criterion or LOSSES[spec.loss]
    return criterion(inner[0] if isinstance(found, Tensor) else inner, without_border(target, border, size))


def shuffled(count: int, steps: int, rng: np.random.Generator) -> list[int]:
    """Patch indices for one phase: whole shuffled rounds, cut to ``steps``."""
    rounds = [rng.permutation(count) for _ in range(-(-steps // count))] if count else []
    return np.concatenate(rounds)[:steps].tolist() if rounds else []


def patch_weights(patches: list[SupportPatch], weighting: str) -> list[float]:
    """A weight for the loss of each patch, 1 in the mean."""
    if weighting == "even" or not patches:
        return [1.0] * len(patches)
    contrasts = [max(patch.contrast, 0.0) for patch in patches]
    total = sum(contrasts)
    return [c * len(patches) / total if total else 1.0 for c in contrasts]
