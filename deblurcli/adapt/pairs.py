"""Pseudo pairs: what a network is shown of a patch, what it is to be restored to, and the loss on them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deblurcli.adapt.survey import WINDOW, SupportPatch
from deblurcli.device import Device
from deblurcli.losses import LOSSES
from deblurcli.networks import NetworkSpec
from deblurcli.networks.spec import outputs
from deblurcli.options import AdaptOptions
from deblurcli.restore.tiles import padded


def network_input(frames: int, window: Tensor, centre: Tensor) -> Tensor:
    """What a network of ``frames`` frames sees when ``centre`` (N x 3 x S x S) stands in the middle of a window of the
    video (N x 5 x 3 x S x S)."""
    if frames == 1:
        return centre.contiguous(memory_format=torch.channels_last)
    middle, reach = window.shape[1] // 2, frames // 2
    before, after = window[:, middle - reach : middle], window[:, middle + 1 : middle + reach + 1]
    return torch.cat([before, centre[:, None], after], 1)


def trainable(network: nn.Module, part: str) -> list[nn.Parameter]:
    """The parameters to adapt: ``all``, or the ``biases`` and the gains of the norms, which are vectors."""
    return [p for p in network.parameters() if part == "all" or p.ndim <= 1]


def shown(spec: NetworkSpec, window: Tensor, centre: Tensor) -> Tensor:
    """What a network, or its part that adapts, sees of N windows of a video (N x 5 x 3 x S x S) whose middle frame is
    replaced by ``centre`` (N x 3 x S x S)."""
    return network_input(1 if spec.alone else spec.window, window, centre.clamp(0, 1))


def restored(network: nn.Module, spec: NetworkSpec, clips: Tensor, device: Device) -> Tensor:
    """The middle frames of N clips (N x 5 x 3 x S x S) as the whole network restores them, N x 3 x S x S.

    The whole: what joins the frames of a window does not adapt, but may do worse with what the adapted part gives it.
    """
    height, width = clips.shape[-2:]
    clips = padded(clips, spec.multiple_of, spec.min_size)
    with device.autocast():
        return network(network_input(spec.window, clips, clips[:, WINDOW // 2]))[..., :height, :width]


@torch.no_grad()
def pseudo_sharp(
    network: nn.Module, spec: NetworkSpec, patch: SupportPatch, options: AdaptOptions, device: Device
) -> Tensor:
    """What a patch (1 x 3 x S x S in [0, 1]) is to be restored to: its sharpest moment, or that as the part of the
    network that adapts restores it. The moment is a little blurred and noisy itself, and teaches to leave so much."""
    window = patch.clip(device.where)
    moment = window[:, WINDOW // 2]
    if not options.restores_patches:
        return moment
    with device.autocast():
        found = network.get_submodule(spec.alone)(shown(spec, window, moment))
    return found.float().clamp(0, 1)


def without_border(picture: Tensor, border: int, size: int) -> Tensor:
    """The inside of a picture that stands for one of ``size`` pixels a side, whose border of so many means nothing."""
    width = picture.shape[-1]
    cut = border * width // size
    return picture[..., cut : width - cut, cut : width - cut]


def deblur_loss(
    network: nn.Module, spec: NetworkSpec, window: Tensor, blurred: Tensor, target: Tensor, border: int, device: Device
) -> Tensor:
    """The network's own loss, of all its outputs, where the pseudo-blurred patch stands in the middle of the window,
    without a border of so many pixels or, so that it ends between pixels at all scales, a few more."""
    with device.autocast():
        found = outputs(network.get_submodule(spec.alone), shown(spec, window, blurred))
    pictures, size = [found] if isinstance(found, Tensor) else found, window.shape[-1]
    step = size // min(picture.shape[-1] for picture in pictures)
    border = -(-border // step) * step
    inner = [without_border(picture, border, size) for picture in pictures]
    return LOSSES[spec.loss](inner[0] if isinstance(found, Tensor) else inner, without_border(target, border, size))
