"""PWC-Net: optical flow from coarse to fine, by comparing the features of one picture with warped ones of the other.

Source: Sun et al., "PWC-Net: CNNs for Optical Flow Using Pyramid, Warping, and Cost Volume", CVPR 2018, section 3.
The state dict has the names and shapes of the network inside CDVD-TSP (CVPR 2020), which tuned it on RGB pictures.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.networks.blocks import chain, check_clip

NUMBERS = ("One", "Two", "Thr", "Fou", "Fiv", "Six")
"""How the authors number levels (1: half the resolution, 6: a 64th) and the convolutions of a level."""
WIDTHS = (16, 32, 64, 96, 128, 196)
"""Channels of the features at levels 1 to 6."""
FINEST = 2
"""The level of the last estimate, a quarter of the resolution."""
DENSE = (128, 128, 96, 64, 32)
"""Channels that the convolutions of an estimate add, each to all before it."""
RADIUS = 4
"""Largest displacement that features are compared at, in pixels of their level."""
FLOW_UNIT = 20.0
"""Pixels of motion that count as 1 inside the network."""
FIRST_LAYER = "moduleNetwork.moduleExtractor.moduleOne.0"
MULTIPLE = 2 ** len(NUMBERS)
VISIBLE = 0.999
"""Share of the four pixels that a sample is mixed from that must lie inside the picture."""


def correlation(first: Tensor, second: Tensor, radius: int = RADIUS) -> Tensor:
    """How alike the features of a pixel and of those around it in the other picture are (cost volume, eq. 2).

    Args:
        first, second: N x C x H x W; outside of ``second`` are zeros.

    Returns:
        N x (2 * radius + 1)^2 x H x W in float32: the mean over the channels of the products, by displacement, row
        by row from top left.
    """
    h, w = first.shape[-2:]
    first, second = first.float(), F.pad(second.float(), (radius, radius, radius, radius))
    side = range(2 * radius + 1)
    return torch.stack([(first * second[..., y : y + h, x : x + w]).mean(1) for y in side for x in side], 1)


def sampled(picture: Tensor, x: Tensor, y: Tensor, outside: str) -> tuple[Tensor, Tensor]:
    """Sample a picture at any points, and tell which of them lie inside it.

    Args:
        picture: N x C x H x W.
        x, y: N x H x W; -1 and 1 are the centres of the first and the last column or row.
        outside: what samples near the border are mixed with: ``zeros``, or the ``border`` repeated.

    Returns:
        N x C x H x W in float32, zero where the point is not inside, and N x 1 x H x W of zeros and ones.
    """
    grid = torch.stack([x, y], -1)
    values = F.grid_sample(picture.float(), grid, mode="bilinear", padding_mode=outside, align_corners=True)
    with torch.no_grad():
        ones = grid.new_ones(len(grid), 1, *picture.shape[-2:])
        visible = (F.grid_sample(ones, grid, mode="bilinear", align_corners=True) > VISIBLE).float()
    return values * visible, visible


def warp(features: Tensor, flow: Tensor) -> Tensor:
    """Sample N x C x H x W at each pixel plus its flow (N x 2 x H x W, pixels, x first); zero outside, float32."""
    h, w = features.shape[-2:]
    flow = flow.float()
    x = torch.linspace(-1, 1, w, device=flow.device) + flow[:, 0] / ((w - 1) / 2)
    y = torch.linspace(-1, 1, h, device=flow.device)[:, None] + flow[:, 1] / ((h - 1) / 2)
    return sampled(features, x, y, "zeros")[0]


def conv(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation)


def leaky() -> nn.LeakyReLU:
    return nn.LeakyReLU(0.1, inplace=True)


class Extractor(nn.Module):
    """The features of a picture at levels 1 to 6; H and W multiples of 64."""

    def __init__(self) -> None:
        super().__init__()
        before = 3
        for number, width in zip(NUMBERS, WIDTHS, strict=True):
            level = [conv(before, width, stride=2), leaky(), conv(width, width), leaky(), conv(width, width), leaky()]
            self.add_module(f"module{number}", nn.Sequential(*level))
            before = width

    def forward(self, picture: Tensor) -> list[Tensor]:
        features = [picture]
        for level in self.children():
            features.append(level(features[-1]))
        return features[1:]


class Decoder(nn.Module):
    """The flow at one level, from the features of both pictures there and the estimate of the level above, if any.

    ``outputs`` is the number of channels of what the flow is read from, which the level below sees as well.
    """

    def __init__(self, level: int, above: int | None) -> None:
        super().__init__()
        channels = (2 * RADIUS + 1) ** 2
        self.unit = FLOW_UNIT / 2**level
        if above is not None:
            self.moduleUpflow = nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1)
            self.moduleUpfeat = nn.ConvTranspose2d(above, 2, 4, stride=2, padding=1)
            channels += WIDTHS[level - 1] + 2 + 2
        for number, width in zip(NUMBERS, DENSE, strict=False):
            self.add_module(f"module{number}", nn.Sequential(conv(channels, width), leaky()))
            channels += width
        self.moduleSix = nn.Sequential(conv(channels, 2))
        self.outputs = channels

    def forward(self, first: Tensor, second: Tensor, above: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Flow (N x 2 x h x w) at this level and the features that it is read from, given both at the level above."""
        seen: list[Tensor] = []
        if above is not None:
            flow, features = self.moduleUpflow(above[0]), self.moduleUpfeat(above[1])
            second, seen = warp(second, self.unit * flow), [first, flow, features]
        x = torch.cat([F.leaky_relu(correlation(first, second), 0.1).to(first.dtype), *seen], 1)
        for number in NUMBERS[: len(DENSE)]:
            x = torch.cat([self.get_submodule(f"module{number}")(x), x], 1)
        return self.moduleSix(x), x


def refiner(channels: int) -> nn.Sequential:
    """A correction of the last flow, from a wide neighbourhood (context network, section 3)."""
    layers: list[nn.Module] = []
    for width, dilation in ((128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1)):
        layers += [conv(channels, width, dilation=dilation), leaky()]
        channels = width
    return chain(moduleMain=nn.Sequential(*layers, conv(channels, 2)))


class Estimator(nn.Module):
    """The network proper, for sizes that are multiples of 64; its flow is a quarter as large, in ``FLOW_UNIT``."""

    def __init__(self) -> None:
        super().__init__()
        self.moduleExtractor = Extractor()
        decoders: dict[int, Decoder] = {}
        for level in range(len(NUMBERS), FINEST - 1, -1):
            decoders[level] = Decoder(level, decoders[level + 1].outputs if decoders else None)
        for level in sorted(decoders):
            self.add_module(f"module{NUMBERS[level - 1]}", decoders[level])
        self.moduleRefiner = refiner(decoders[FINEST].outputs)

    def flows(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> list[Tensor]:
        """From the features of both pictures the flow of every level, coarse to fine, the last one refined as well."""
        flow, features = self.get_submodule("moduleSix")(first[-1], second[-1], None)
        flows = [flow]
        for level in range(len(NUMBERS) - 1, FINEST - 1, -1):
            decode = self.get_submodule(f"module{NUMBERS[level - 1]}")
            flow, features = decode(first[level - 1], second[level - 1], (flow, features))
            flows.append(flow)
        return [*flows, flow.float() + self.moduleRefiner(features).float()]


class PWCNet(nn.Module):
    """Two pictures in, the flow between them out: where the pixels of the first lie in the second.

    Input: N x 2 x 3 x H x W, RGB in [0, 1], of any size: they are resized to multiples of 64 inside. Output: N x 2 x
    H x W in pixels, x first, float32. Flow is added up, warped along and compared in float32 under autocast as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self.moduleNetwork = Estimator()

    def forward(self, pair: Tensor) -> Tensor:
        check_clip(pair, 2)
        first, second = (self.pyramid(picture) for picture in pair.unbind(1))
        return self.between(first, second, (pair.shape[-2], pair.shape[-1]))

    def pyramid(self, picture: Tensor) -> list[Tensor]:
        """What flow from or to a picture, N x 3 x H x W, needs of it: features of levels 1 to 6 at a resized one."""
        h, w = (math.ceil(side / MULTIPLE) * MULTIPLE for side in picture.shape[-2:])
        if (h, w) != picture.shape[-2:]:
            picture = F.interpolate(picture, (h, w), mode="bilinear")
        return self.moduleNetwork.moduleExtractor(picture)

    def between(self, first: Sequence[Tensor], second: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """The flow, N x 2 x H x W, from the pyramids of two pictures of ``size`` H x W."""
        h, w = size
        resized = [2 * side for side in first[0].shape[-2:]]
        flow = FLOW_UNIT * F.interpolate(self.moduleNetwork.flows(first, second)[-1], size, mode="bilinear")
        return flow * flow.new_tensor([w / resized[1], h / resized[0]])[:, None, None]


def is_published(tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors have the names of PWC-Net alone: its authors' (NVlabs), or those of its best known conversion."""
    return "moduleExtractor.moduleOne.0.weight" in tensors or "conv1aa.0.weight" in tensors


def from_published(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights, which are for blue before red, under this file's names and for RGB. Unknown names stay."""
    found = {}
    for key, value in tensors.items():
        layer, _, kind = key.rpartition(".")
        if layer == "deconv2":  # enlarges the last flow, which nobody looks at
            continue
        name = f"moduleNetwork.{_own_name(layer)}.{kind}"
        found[name] = value.flip(1) if name == f"{FIRST_LAYER}.weight" and value.dim() == 4 else value
    return found


def _own_name(layer: str) -> str:
    """What a layer of the authors' is called here, within the network; a layer of the conversion has the same name."""
    if pieces := re.fullmatch(r"conv([1-6])(a|aa|b)\.0", layer):
        level, order = int(pieces[1]), ("aa", "a", "b") if pieces[1] == "6" else ("a", "aa", "b")
        return f"moduleExtractor.module{NUMBERS[level - 1]}.{2 * order.index(pieces[2])}"
    if pieces := re.fullmatch(r"conv([2-6])_([0-4])\.0", layer):
        return f"module{NUMBERS[int(pieces[1]) - 1]}.module{NUMBERS[int(pieces[2])]}.0"
    if pieces := re.fullmatch(r"predict_flow([2-6])", layer):
        return f"module{NUMBERS[int(pieces[1]) - 1]}.moduleSix.0"
    if pieces := re.fullmatch(r"(deconv|upfeat)([3-6])", layer):  # stored with the level above
        part = "moduleUpflow" if pieces[1] == "deconv" else "moduleUpfeat"
        return f"module{NUMBERS[int(pieces[2]) - 2]}.{part}"
    if pieces := re.fullmatch(r"dc_conv([1-7])(\.0)?", layer):
        return f"moduleRefiner.moduleMain.{2 * (int(pieces[1]) - 1)}"
    return layer
