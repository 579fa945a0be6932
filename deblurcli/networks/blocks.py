"""Pieces that several networks are made of."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class ResBlock(nn.Module):
    """x + conv(relu(conv(x))), square kernels of odd side ``kernel``."""

    def __init__(self, channels: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
        self.conv2 = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x), inplace=True))


class Residual(nn.Sequential):
    """x + the layers, one after the other, of x."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


Layer = tuple[int, int, int, int] | int
"""A convolution (channels, side, stride, padding) with a ReLU behind it, or max-pooling of this side and stride 2."""


def wide(channels: int, count: int) -> list[Layer]:
    return [(channels, 3, 1, 1)] * count


def convolutions(layers: Sequence[Layer]) -> nn.Sequential:
    """The convolutional part of AlexNet or a VGG for RGB pictures, with torchvision's numbers for the layers."""
    made: list[nn.Module] = []
    before = 3
    for layer in layers:
        if isinstance(layer, int):
            made.append(nn.MaxPool2d(layer, 2))
        else:
            made += [nn.Conv2d(before, *layer), nn.ReLU(inplace=True)]
            before = layer[0]
    return nn.Sequential(*made)


def chain(**layers: nn.Module) -> nn.Sequential:
    """Layers one after the other, under the names that they have in the authors' state dict."""
    return nn.Sequential(OrderedDict(layers))


def check_clip(clip: Tensor, frames: int, multiple_of: int = 1) -> None:
    """Raise ValueError unless a clip is N x ``frames`` x 3 x H x W with H and W multiples of ``multiple_of``."""
    if clip.dim() != 5 or clip.shape[1:3] != (frames, 3) or any(side % multiple_of for side in clip.shape[-2:]):
        sides = f" with H and W multiples of {multiple_of}" if multiple_of > 1 else ""
        raise ValueError(f"expected N x {frames} x 3 x H x W{sides}, got {tuple(clip.shape)}")
