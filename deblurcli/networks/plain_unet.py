"""The default deblurring network: a plain U-shaped residual network of 3x3 convolutions at 1/4 and 1/8 resolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))); the second convolution starts at zero, so that a new block is the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x), inplace=True))


class Trunk(nn.Module):
    """Residual blocks at two resolutions, between a convolution in and one that gives pixels back.

    Args:
        channels: of the input.
        width: channels at the input's resolution.
        deep_width: channels at half of that.
        blocks: residual blocks before, at and after the low-resolution level.
        fold: side of the pixel square that each place of the input stands for.
        kernel: side of the first convolution.

    Input: N x ``channels`` x h x w, h and w even. Output: N x 3 x ``fold`` h x ``fold`` w, 0 before it is trained.
    """

    def __init__(
        self, channels: int, width: int, deep_width: int, blocks: tuple[int, int, int], fold: int, kernel: int = 3
    ) -> None:
        super().__init__()
        before, deep, after = blocks
        self.fold = fold
        self.head = nn.Conv2d(channels, width, kernel, padding=kernel // 2)
        self.encoder = nn.Sequential(*(ResidualBlock(width) for _ in range(before)))
        self.down = nn.Conv2d(width, deep_width, 2, stride=2)
        self.deep = nn.Sequential(*(ResidualBlock(deep_width) for _ in range(deep)))
        self.up = nn.Conv2d(deep_width, width * 4, 1)
        self.decoder = nn.Sequential(*(ResidualBlock(width) for _ in range(after)))
        self.tail = nn.Conv2d(width, 3 * fold * fold, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, folded: Tensor) -> Tensor:
        features = self.encoder(self.head(folded))
        features = features + F.pixel_shuffle(self.up(self.deep(self.down(features))), 2)
        return F.pixel_shuffle(self.tail(self.decoder(features)), self.fold)


class PlainUNet(Trunk):
    """One blurred frame in, the sharp frame out.

    Pixels are folded into channels (space-to-depth by ``fold``), so that all the work happens in wide 3x3 convolutions
    at low resolution, which is where CPUs and GPUs are fast. The network predicts the change to its input; the sum is
    taken in float32, so that reduced precision touches the change only.

    Args:
        width: channels at 1/``fold`` resolution.
        deep_width: channels at half of that.
        blocks: residual blocks before, at and after the low-resolution level.
        fold: side of the pixel square folded into channels.

    Input and output: N x 3 x H x W, RGB in [0, 1] (the output is not clamped); H and W multiples of 2 * ``fold``.
    """

    def __init__(
        self, width: int = 128, deep_width: int = 192, blocks: tuple[int, int, int] = (3, 5, 4), fold: int = 4
    ) -> None:
        super().__init__(3 * fold * fold, width, deep_width, blocks, fold)

    def forward(self, x: Tensor) -> Tensor:
        change = super().forward(F.pixel_unshuffle(x, self.fold))
        return x + change.to(torch.promote_types(x.dtype, torch.float32))
