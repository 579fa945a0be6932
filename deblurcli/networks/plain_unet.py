"""The default deblurring network: a plain U-shaped residual network of 3x3 convolutions at 1/4 and 1/8 resolution."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.networks.blocks import ResBlock


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The same convolution with weights and bias of zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def blocks_of(channels: int, count: int) -> nn.Sequential:
    """Residual blocks whose second convolution starts at zero, so that new blocks are the identity."""
    made = [ResBlock(channels) for _ in range(count)]
    for block in made:
        zeroed(block.conv2)
    return nn.Sequential(*made)


class Trunk(nn.Module):
    """Residual blocks at two resolutions, between a convolution in and one that gives pixels back.

    Args:
        channels: of the input.
        width: channels at the input's resolution.
        deep_width: channels at half of that.
        blocks: residual blocks before, at and after the low-resolution level.
        fold: side of the pixel square that each place of the input stands for.
        kernel: side of the first convolution.
        planes: channels of the output.

    Input: N x ``channels`` x h x w, h and w even.
    Output: N x ``planes`` x ``fold`` h x ``fold`` w, 0 before it is trained.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        deep_width: int,
        blocks: tuple[int, int, int],
        fold: int,
        kernel: int = 3,
        planes: int = 3,
    ) -> None:
        super().__init__()
        before, deep, after = blocks
        self.fold = fold
        self.head = nn.Conv2d(channels, width, kernel, padding=kernel // 2)
        self.encoder = blocks_of(width, before)
        self.down = nn.Conv2d(width, deep_width, 2, stride=2)
        self.deep = blocks_of(deep_width, deep)
        self.up = nn.Conv2d(deep_width, width * 4, 1)
        self.decoder = blocks_of(width, after)
        self.tail = zeroed(nn.Conv2d(width, planes * fold * fold, 3, padding=1))

    def forward(self, folded: Tensor) -> Tensor:
        features = self.encoder(self.head(folded))
        features = features + F.pixel_shuffle(self.up(self.deep(self.down(features))), 2)
        return F.pixel_shuffle(self.tail(self.decoder(features)), self.fold)


class PlainUNet(Trunk):
    """One blurred frame in, the sharp frame out.

    Pixels are folded into channels (space-to-depth by ``fold``), so that all the work happens in wide 3x3 convolutions
    at low resolution, which is where CPUs and GPUs are fast. The same trunk works at several scales, coarse to fine
    (after the scale-recurrent network, Tao et al., CVPR 2018): what is a long smear at full resolution is a short one
    at a quarter of it. At each scale the trunk sees the picture and what the coarser scale would change in it; it gives
    a change of its own, and for every pixel the share of the coarser scale's that is taken. The sums are float32, so
    that reduced precision touches the changes only.

    Args:
        width, deep_width, blocks, fold: as for :class:`Trunk`.
        scales: full resolution, half of it, and so on. With 1 the trunk sees the picture alone.

    Input and output: N x 3 x H x W, RGB in [0, 1] (the output is not clamped); H and W multiples of 2 * ``fold`` and of
    2 ** (``scales`` - 1).
    """

    def __init__(
        self,
        width: int = 128,
        deep_width: int = 192,
        blocks: tuple[int, int, int] = (3, 5, 4),
        fold: int = 4,
        scales: int = 1,
    ) -> None:
        several = scales > 1
        super().__init__(3 * (1 + several) * fold**2, width, deep_width, blocks, fold, planes=3 + several)
        self.scales = scales

    def at_scales(self, more: int) -> PlainUNet:
        """The same network, weights included, that looks at so many coarser scales more, unless it has one alone.

        H and W are then multiples of 2 ** ``more`` times as much.
        """
        found = copy.copy(self)
        found.scales = self.scales + more * (self.scales > 1)
        return found

    def forward(self, x: Tensor) -> Tensor:
        pictures = [x]
        for _ in range(self.scales - 1):
            pictures.append(F.avg_pool2d(pictures[-1], 2))
        coarsest = pictures.pop()
        restored = self._changed(coarsest, torch.zeros_like(coarsest))
        for picture in reversed(pictures):
            coarser = restored - F.avg_pool2d(picture, 2)
            restored = self._changed(picture, F.interpolate(coarser, scale_factor=2.0, mode="bilinear"))
        return restored

    def _changed(self, picture: Tensor, coarser: Tensor) -> Tensor:
        """The picture of one scale with the trunk's change and a share of the coarser scale's, N x 3 x h x w each."""
        h, w = picture.shape[-2:]
        seen = torch.cat([picture, coarser], 1) if self.scales > 1 else picture
        cell = 2 * self.fold
        if h % cell or w % cell:  # at a coarse scale
            seen = F.pad(seen, (0, -w % cell, 0, -h % cell), mode="replicate")
        found = super().forward(F.pixel_unshuffle(seen, self.fold))[..., :h, :w]
        change, share = found.to(torch.promote_types(picture.dtype, torch.float32)).tensor_split((3,), 1)
        return picture + change + (share.sigmoid() * coarser if self.scales > 1 else 0.0)
