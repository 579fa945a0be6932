"""MIMO-UNet and MIMO-UNet+: one U-shaped network that reads the blurred picture, and restores it, at three scales.

Source: Cho et al., "Rethinking Coarse-to-Fine Approach in Single Image Deblurring", ICCV 2021, section 3.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.networks.blocks import Residual, chain


def unit(
    inputs: int, outputs: int, size: int, stride: int = 1, relu: bool = True, transposed: bool = False
) -> nn.Sequential:
    """A convolution that keeps the size, divides it by ``stride`` or, ``transposed``, doubles it; then maybe ReLU."""
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    convolution = kind(inputs, outputs, size, stride, (size - 1) // 2)
    return chain(main=nn.Sequential(convolution, *([nn.ReLU(inplace=True)] if relu else [])))


def stage(channels: int, blocks: int) -> nn.Sequential:
    """Residual blocks of one scale: EB and DB of the paper."""

    def block() -> nn.Module:
        pair = nn.Sequential(unit(channels, channels, 3), unit(channels, channels, 3, relu=False))
        return Residual(OrderedDict(main=pair))

    return chain(layers=nn.Sequential(*(block() for _ in range(blocks))))


class ShallowConvolution(nn.Module):
    """Features of a smaller picture: N x 3 x h x w to N x ``channels`` x h x w (SCM of the paper)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            unit(3, channels // 4, 3),
            unit(channels // 4, channels // 2, 1),
            unit(channels // 2, channels // 2, 3),
            unit(channels // 2, channels - 3, 1),
        )
        self.conv = unit(channels, channels, 1, relu=False)

    def forward(self, picture: Tensor) -> Tensor:
        return self.conv(torch.cat([picture, self.main(picture)], 1))


class FeatureAttention(nn.Module):
    """Lets the features of a smaller picture emphasise or suppress features of the scale above (the paper's FAM)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.merge = unit(channels, channels, 3, relu=False)

    def forward(self, features: Tensor, smaller: Tensor) -> Tensor:
        return features + self.merge(features * smaller)


class AsymmetricFusion(nn.Module):
    """The encoder's features of all scales, fused at the scale of number ``level`` (AFF of the paper, section 3.3).

    The paper resizes (nearest neighbour), concatenates, and convolves 1x1. Here each scale is convolved by its part of
    the weights first and the results are resized and added: the same function, without seven times the features at
    full size.
    """

    def __init__(self, widths: Sequence[int], level: int) -> None:
        super().__init__()
        self.widths, self.level = list(widths), level
        outputs = self.widths[level]
        self.conv = nn.Sequential(unit(sum(self.widths), outputs, 1), unit(outputs, outputs, 3, relu=False))

    def forward(self, scales: Sequence[Tensor]) -> Tensor:
        mix = cast(nn.Conv2d, self.conv.get_submodule("0.main.0"))
        weights = mix.weight.split(self.widths, 1)
        fused = F.conv2d(scales[self.level], weights[self.level], mix.bias)
        for level, (features, weight) in enumerate(zip(scales, weights, strict=True)):
            if level < self.level:
                step = 2 ** (self.level - level)
                fused = fused + F.conv2d(features[..., ::step, ::step], weight)
            elif level > self.level:
                fused = fused + F.interpolate(F.conv2d(features, weight), scale_factor=2.0 ** (level - self.level))
        return self.conv[1](F.relu(fused))


class MIMOUNet(nn.Module):
    """One blurred picture in, the sharp one out, at full, half and quarter size.

    Args:
        blocks: residual blocks per scale, in the encoder and in the decoder; 8, or 20 in MIMO-UNet+.
        dropout: share of the fused feature maps left out in training mode; 0.1 in MIMO-UNet+.
        width: channels at full size; twice and four times as many at half and quarter size.

    Input: N x 3 x H x W, RGB in [0, 1], H and W multiples of 4. Output, not clamped: the restored picture at full size;
    the loss is of all three sizes, see :meth:`outputs`.
    """

    def __init__(self, blocks: int = 8, dropout: float = 0.0, width: int = 32) -> None:
        super().__init__()
        c1, c2, c3 = widths = (width, 2 * width, 4 * width)
        self.dropout = dropout
        # The authors' names, in the order of their state dict.
        self.Encoder = nn.ModuleList(stage(c, blocks) for c in (c1, c2, c3))
        self.feat_extract = nn.ModuleList(
            [
                unit(3, c1, 3),
                unit(c1, c2, 3, stride=2),
                unit(c2, c3, 3, stride=2),
                unit(c3, c2, 4, stride=2, transposed=True),
                unit(c2, c1, 4, stride=2, transposed=True),
                unit(c1, 3, 3, relu=False),
            ]
        )
        self.Decoder = nn.ModuleList(stage(c, blocks) for c in (c3, c2, c1))
        self.Convs = nn.ModuleList([unit(2 * c2, c2, 1), unit(2 * c1, c1, 1)])
        self.ConvsOut = nn.ModuleList([unit(c3, 3, 3, relu=False), unit(c2, 3, 3, relu=False)])
        self.AFFs = nn.ModuleList([AsymmetricFusion(widths, 0), AsymmetricFusion(widths, 1)])
        self.FAM1 = FeatureAttention(c3)
        self.SCM1 = ShallowConvolution(c3)
        self.FAM2 = FeatureAttention(c2)
        self.SCM2 = ShallowConvolution(c2)

    def forward(self, x: Tensor) -> Tensor:
        return self.outputs(x)[-1]

    def outputs(self, x: Tensor) -> list[Tensor]:
        """The restored picture at quarter, half and full size."""
        half, quarter = x[..., ::2, ::2], x[..., ::4, ::4]  # nearest neighbours
        down, up = self.feat_extract[:3], self.feat_extract[3:]
        e1 = self.Encoder[0](down[0](x))
        e2 = self.Encoder[1](self.FAM2(down[1](e1), self.SCM2(half)))
        e3 = self.Encoder[2](self.FAM1(down[2](e2), self.SCM1(quarter)))
        fused1, fused2 = (F.dropout2d(fuse([e1, e2, e3]), self.dropout, self.training) for fuse in self.AFFs)
        del e1, e2
        d = self.Decoder[0](e3)
        outputs = [quarter + self.ConvsOut[0](d)]
        d = self.Decoder[1](self.Convs[0](torch.cat([up[0](d), fused2], 1)))
        outputs.append(half + self.ConvsOut[1](d))
        d = self.Decoder[2](self.Convs[1](torch.cat([up[1](d), fused1], 1)))
        return [*outputs, x + up[2](d)]
