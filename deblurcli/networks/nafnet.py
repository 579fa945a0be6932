"""NAFNet: a U-shaped network without nonlinear activations, only products of features.

Sources: Chen et al., "Simple Baselines for Image Restoration", ECCV 2022, section 4, and for the local statistics
(TLC) Chu et al., "Improving Image Restoration by Revisiting Global Information Aggregation", ECCV 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of every pixel, N x C x H x W.

    Statistics are in float32. Nothing is moved when the input lies channels-last in memory, as the output does.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def local_means(x: Tensor, window: tuple[int, int]) -> Tensor:
    """Means over all windows inside the picture (TLC).

    Args:
        x: N x C x H x W.
        window: its height h and width w. One larger than the picture means one as large.

    Returns:
        N x C x H - h + 1 x W - w + 1 in float32.
    """
    height, width = (min(side, length) for side, length in zip(window, x.shape[-2:], strict=True))
    if (height, width) == x.shape[-2:]:
        return x.mean((2, 3), keepdim=True, dtype=torch.float32)
    rows = x.permute(0, 2, 3, 1)  # in the order of memory, if that is channels-last
    return _running_mean(_running_mean(rows, height, 1), width, 2).permute(0, 3, 1, 2)


def _running_mean(x: Tensor, window: int, dim: int) -> Tensor:
    """Mean of ``window`` neighbours along one dimension, which gets shorter by ``window - 1``; float32.

    Each sum is the one before, plus what enters the window and minus what leaves it.
    """
    steps = x.shape[dim] - window
    first = x.narrow(dim, 0, window).sum(dim, keepdim=True, dtype=torch.float32)
    changes = x.narrow(dim, window, steps).float() - x.narrow(dim, 0, steps)
    if x.device.type == "cpu":  # cumsum would jump through memory: five to ten times as long
        sums = torch.cat(list(accumulate(changes.split(1, dim), torch.add, initial=first)), dim)
    else:
        sums = torch.cat([first, first + changes.cumsum(dim)], dim)
    return sums.div_(window)


def spread(means: Tensor, size: Sequence[int]) -> Tensor:
    """To every pixel of a picture of this height and width the window around it, at the borders the nearest one."""
    rows, columns = size[0] - means.shape[2], size[1] - means.shape[3]
    if means.shape[2:] == (1, 1) or not (rows or columns):
        return means
    border = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    with torch.autocast(means.device.type, enabled=False):  # which would go to float32 for a copy
        return F.pad(means, border, mode="replicate")


class MeanPool(nn.Module):
    """Mean of all pixels; with a ``window``, in eval mode, of those in every square of that side."""

    def __init__(self, window: int | None) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        if self.window is None or self.training:
            return x.mean((2, 3), keepdim=True)
        return local_means(x, (self.window, self.window))


def gate(x: Tensor) -> Tensor:
    """The product of both halves of the channels (SimpleGate, eq. 4 of the paper)."""
    first, second = x.chunk(2, 1)
    return first * second


def scaled(conv: nn.Conv2d, x: Tensor, scale: Tensor) -> Tensor:
    """``scale`` (1 x C x 1 x 1) times the 1x1 convolution of x: its weights are scaled instead of its C features."""
    factor = scale.flatten()
    return F.conv2d(x, conv.weight * factor[:, None, None, None], None if conv.bias is None else conv.bias * factor)


class NAFBlock(nn.Module):
    """Depthwise convolution, gate and channel attention, then a gated feed-forward part (figure 3c of the paper).

    ``beta`` and ``gamma`` scale what the two parts add; they start at zero, so that a new block is the identity.
    """

    def __init__(self, channels: int, window: int | None) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.sca = nn.Sequential(MeanPool(window), nn.Conv2d(channels, channels, 1))
        self.conv4 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.norm1 = LayerNorm2d(channels, eps=1e-6)
        self.norm2 = LayerNorm2d(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        y = gate(self.conv2(self.conv1(self.norm1(x))))
        attention = spread(self.sca(y), y.shape[-2:])  # after the convolution, which has fewer windows than pixels
        x = x + scaled(self.conv3, y * attention, self.beta)
        y = gate(self.conv4(self.norm2(x)))
        return x + scaled(self.conv5, y, self.gamma)


class NAFNet(nn.Module):
    """One blurred picture in, the sharp one out.

    Args:
        width: channels at full size; they double each time the size is halved.
        encoders, middle, decoders: blocks per scale, in the decoder from small to large.
        train_size: side in pixels of the crops the weights were trained on. In eval mode the means of channel
            attention are then taken over squares of 1.5 times that side (TLC), as the authors do for whole pictures;
            None: over the whole picture. Crops of up to that size see no difference.

    Input: N x 3 x H x W, RGB in [0, 1]; any size, zeros are added on the right and bottom up to a multiple of 16.
    Output: N x 3 x H x W, not clamped.
    """

    def __init__(
        self,
        width: int = 32,
        encoders: Sequence[int] = (1, 1, 1, 28),
        middle: int = 1,
        decoders: Sequence[int] = (1, 1, 1, 1),
        train_size: int | None = None,
    ) -> None:
        super().__init__()
        depth = len(encoders)
        self.multiple = 2**depth

        def blocks(count: int, level: int) -> nn.Sequential:
            window = None if train_size is None else 3 * train_size // 2 // 2**level
            return nn.Sequential(*(NAFBlock(width * 2**level, window) for _ in range(count)))

        self.intro = nn.Conv2d(3, width, 3, padding=1)
        self.ending = nn.Conv2d(width, 3, 3, padding=1)
        self.encoders = nn.ModuleList(blocks(count, level) for level, count in enumerate(encoders))
        self.decoders = nn.ModuleList(blocks(count, depth - 1 - level) for level, count in enumerate(decoders))
        self.middle_blks = blocks(middle, depth)
        wide = [width * 2**level for level in range(depth, 0, -1)]  # before each step up
        self.ups = nn.ModuleList(nn.Sequential(nn.Conv2d(c, 2 * c, 1, bias=False), nn.PixelShuffle(2)) for c in wide)
        self.downs = nn.ModuleList(nn.Conv2d(c // 2, c, 2, stride=2) for c in reversed(wide))

    def forward(self, picture: Tensor) -> Tensor:
        h, w = picture.shape[-2:]
        picture = F.pad(picture, (0, -w % self.multiple, 0, -h % self.multiple))
        x, skips = self.intro(picture), []
        for encode, down in zip(self.encoders, self.downs, strict=True):
            skips.append(encode(x))
            x = down(skips[-1])
        x = self.middle_blks(x)
        for up, decode in zip(self.ups, self.decoders, strict=True):
            x = decode(up(x) + skips.pop())
        return (picture + self.ending(x))[..., :h, :w]
