"""The generator of DeblurGAN.

Source: "DeblurGAN: blind motion deblurring using conditional adversarial networks" (CVPR 2018), section 3.2 and figure
3. Residual blocks have two convolutions, as in the paper and in the authors' code of the time of their weights; a later
revision of that code lost the second one by mistake. The state dict is the authors', without the running statistics
that theirs may carry: pictures are always normalised by their own statistics.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn

from deblurcli.networks.blocks import Residual

WIDTHS = (64, 128, 256)
"""Channels at full, half and quarter resolution."""


def resnet_block(channels: int, dropout: bool) -> nn.Module:
    """x + two 3x3 convolutions with mirrored borders, each normalised, ReLU and dropout in between."""
    first = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), *_normalised(channels)]
    second = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)]
    return Residual(OrderedDict(conv_block=nn.Sequential(*first, *([nn.Dropout(0.5)] if dropout else []), *second)))


class DeblurGAN(nn.Module):
    """One blurred frame in, the sharp frame out: the input plus half of a tanh, clamped.

    Args:
        blocks: residual blocks at a quarter of the resolution.
        dropout: drop values inside the blocks, in training mode only. It has no weights, but changes their names: the
            second convolution is ``conv_block.6`` with and ``conv_block.5`` without it.

    Input and output: N x 3 x H x W, RGB in [0, 1]; H and W multiples of 4, at least 8. The authors' range is [-1, 1],
    into which the input is scaled inside; the sum with the input is taken in [0, 1], in float32. The statistics of the
    whole picture decide the result (instance normalisation). Trained against a critic, with 100 times the mean squared
    error of VGG19 features.
    """

    def __init__(self, blocks: int = 9, dropout: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, WIDTHS[0], 7), *_normalised(WIDTHS[0])]
        for before, after in pairwise(WIDTHS):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), *_normalised(after)]
        layers += [resnet_block(WIDTHS[-1], dropout) for _ in range(blocks)]
        for before, after in pairwise(WIDTHS[::-1]):
            up = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)
            layers += [up, *_normalised(after)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(WIDTHS[0], 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        # Half of the authors' clamp(input + tanh, -1, 1), moved to [0, 1].
        change = self.model(2 * x - 1).to(torch.promote_types(x.dtype, torch.float32))
        return (x + 0.5 * change).clamp(0, 1)


def _normalised(channels: int) -> list[nn.Module]:
    # Not GroupNorm of one channel each: its channels-last kernel is faster, but far off where the mean is large.
    return [nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]
