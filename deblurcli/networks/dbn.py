"""DBN ("DeBlurNet"): five stacked frames through an encoder and decoder with added skip connections.

Source: "Deep video deblurring for hand-held cameras" (CVPR 2017), section 3 and table 1. Names are the nodes of the
authors' Torch7 graph.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.networks.blocks import check_clip

FRAMES = 5
CENTRE = FRAMES // 2


class Unit(nn.Module):
    """A 3x3 (``kernel``) convolution and batch normalisation; ReLU where ``active``."""

    def __init__(self, before: int, after: int, kernel: int = 3, stride: int = 1, active: bool = True) -> None:
        super().__init__()
        self.conv: nn.Module = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2)
        self.bn = nn.BatchNorm2d(after, eps=1e-3)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return F.relu(x, inplace=True) if self.active else x


class Up(nn.Module):
    """To twice the resolution, and the encoder's features added before the ReLU."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(after, eps=1e-3)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)) + skip, inplace=True)


class DBN(nn.Module):
    """A clip of five blurred frames in, the sharp centre frame out. Frames need not be aligned.

    Input: N x 5 x 3 x H x W, RGB in [0, 1], the authors' range, in order of time; H and W multiples of 8. Output:
    N x 3 x H x W in (0, 1): the sigmoid of centre frame plus predicted change, summed in float32. The authors train
    with the mean squared error. Raises ValueError for any other input shape.
    """

    def __init__(self) -> None:
        super().__init__()
        self.F0 = Unit(3 * FRAMES, 64, kernel=5)
        self.D1 = Unit(64, 64, stride=2)
        self.F1 = Unit(64, 128)
        self.F2 = Unit(128, 128)
        self.D2 = Unit(128, 256, stride=2)
        self.F3, self.F4, self.F5 = (Unit(256, 256) for _ in range(3))
        self.D3 = Unit(256, 512, stride=2)
        self.F6, self.F7, self.F8 = (Unit(512, 512) for _ in range(3))
        self.U1 = Up(512, 256)
        self.F9, self.F10, self.F11 = (Unit(256, 256) for _ in range(3))
        self.U2 = Up(256, 128)
        self.F12 = Unit(128, 128)
        self.F13 = Unit(128, 64)
        self.U3 = Up(64, 64)
        self.F14 = Unit(64, 3 * FRAMES)
        self.F15 = Unit(3 * FRAMES, 3, active=False)

    def forward(self, clip: Tensor) -> Tensor:
        check_clip(clip, FRAMES, multiple_of=8)
        full = self.F0(clip.flatten(1, 2))
        half = self.F2(self.F1(self.D1(full)))
        quarter = self.F5(self.F4(self.F3(self.D2(half))))
        eighth = self.F8(self.F7(self.F6(self.D3(quarter))))
        quarter = self.F11(self.F10(self.F9(self.U1(eighth, quarter))))
        half = self.F13(self.F12(self.U2(quarter, half)))
        change = self.F15(self.F14(self.U3(half, full)))
        return torch.sigmoid(clip[:, CENTRE] + change.to(torch.promote_types(clip.dtype, torch.float32)))
