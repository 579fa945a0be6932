"""A reblurring network that mixes straight blurs: five frames in, the centre frame with its neighbours' blur out.

The reblurring network of the meta-transferring paper (BMVC 2022) learns filters for every direction of blur, and was
trained for days. This one is told what the paper's self-shift score tells (section 3.2): how much smoother than the
centre frame its neighbours are, in each direction. From that it finds the blur to make, as a kernel for every region of
the picture, so that minutes of training are enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from deblurcli.networks.blocks import check_clip

FRAMES = 5
CENTRE = FRAMES // 2
REGION = 32
"""Side of a region in pixels."""
DIRECTIONS = ((0, 1), (1, 2), (1, 1), (2, 1), (1, 0), (2, -1), (1, -1), (1, -2))
"""Rows and columns of the shifts by which smoothness is seen."""
SCALES = ((1, 1), (2, 1), (2, 2), (2, 4))
"""By how much the frames are reduced, against noise, and how far they are shifted then."""
LENGTHS = (2, 4, 7, 11, 16, 23, 32)
"""Pixels that the paths take."""
ANGLES = 8
"""Directions of the paths, evenly over half a turn."""
FLOOR = 1e-4
"""Mean squared change, in units of full scale, that nothing falls below; noise is about as large."""


class BlurMixture(nn.Module):
    """Reblur the centre frame of a clip.

    Input: N x 5 x 3 x H x W in [0, 1], H and W multiples of 32. Output: N x 3 x H x W in [0, 1]. Every region of 32
    pixels gets a kernel, the mixture of no blur and of blurs along straight paths (``lengths`` pixels, in ``ANGLES``
    directions), and pixels between the middles of regions what lies between. Blur adds up in light, which display
    values are a power of; the exponent is learnt. Raises ValueError for any other input shape.

    ``width``: of the two hidden layers that see how much smoother the frames are.
    """

    def __init__(self, width: int = 256, lengths: Sequence[float] = LENGTHS) -> None:
        super().__init__()
        kernels = straight_kernels(lengths)
        self.register_buffer("kernels", torch.from_numpy(kernels), persistent=False)
        # What is said for a length is a smooth function of the direction, so that every kernel is always within reach.
        angles = np.arange(ANGLES) * math.pi / ANGLES
        waves = [wave(order * angles) for order in (2, 4) for wave in (np.cos, np.sin)]
        smooth = np.stack([np.ones(ANGLES), *waves]).astype(np.float32)
        self.register_buffer("smooth", torch.from_numpy(smooth), persistent=False)
        self.reach = kernels.shape[-1] // 2
        # Of a region and of the whole clip the frames' smoothness, and how much structure the centre frame has there.
        seen = 2 * FRAMES * (1 + len(DIRECTIONS)) * len(SCALES)
        self.head = nn.Linear(seen, width)
        self.body = nn.Linear(width, width)
        self.tail = nn.Linear(width, 1 + len(lengths) * len(smooth))
        self.exponent = nn.Parameter(torch.tensor(1.8))

    def forward(self, clip: Tensor) -> Tensor:
        check_clip(clip, FRAMES, REGION)
        told = self.tail(self.hidden(smoothness(clip))).float()
        with torch.autocast(clip.device.type, enabled=False):
            smooth = self.get_buffer("smooth")
            straight = (told[..., 1:].unflatten(-1, (-1, len(smooth))) @ smooth).flatten(-2)
            shares = torch.cat([told[..., :1], straight], -1).softmax(-1)
            kernels = torch.einsum("nyxk,kij->nyxij", shares, self.get_buffer("kernels"))
            exponent = self.exponent.clamp(1.0, 4.0)
            light = clip[:, CENTRE].float().clamp(1e-3, 1) ** exponent
            return blurred(light, kernels, self.reach).clamp(min=1e-6) ** (1 / exponent)

    def hidden(self, seen: Tensor) -> Tensor:
        """What is known of each region, N x rows x columns x width."""
        everywhere = seen.mean((1, 2), keepdim=True).expand_as(seen)
        x = F.leaky_relu(self.head(torch.cat([seen, everywhere], -1)), 0.2)
        return F.leaky_relu(self.body(x), 0.2)


@torch.no_grad()
def smoothness(clip: Tensor) -> Tensor:
    """What of a clip (N x 5 x 3 x H x W) tells of its blur, in every region: N x H/32 x W/32 x numbers.

    The logarithms of the mean squared change by each shift, in a region and those around it: of the neighbours less the
    centre frame's, and its own; their means over the directions, and what these add.
    """
    grey = clip.float().mean(2)
    found = []
    for reduced, far in SCALES:
        small = F.avg_pool2d(grey, reduced) if reduced > 1 else grey
        for down, right in DIRECTIONS:
            change = (_shifted(small, far * down, far * right) - small).square()
            power = F.avg_pool2d(change, REGION // reduced)
            found.append((F.avg_pool2d(power, 3, 1, 1, count_include_pad=False) + FLOOR).log())
    powers = torch.stack(found, 2).unflatten(2, (len(SCALES), len(DIRECTIONS)))  # N x 5 x scales x directions x ...
    centre = powers[:, CENTRE : CENTRE + 1]
    apart = powers - centre
    told = torch.cat([apart[:, :CENTRE], centre / 4 + 1, apart[:, CENTRE + 1 :]], 1)
    overall = told.mean(3, keepdim=True)  # apart from it, directions differ little
    return torch.cat([overall, 2 * (told - overall)], 3).flatten(1, 3).permute(0, 2, 3, 1)


def _shifted(pictures: Tensor, down: int, right: int) -> Tensor:
    """Pictures (N x C x H x W) moved up by ``down`` >= 0 pixels and to the left by ``right``; the edge repeats."""
    height, width = pictures.shape[-2:]
    wide = F.pad(pictures, (max(-right, 0), max(right, 0), 0, down), mode="replicate")
    left = max(right, 0)
    return wide[..., down : down + height, left : left + width]


def blurred(light: Tensor, kernels: Tensor, reach: int) -> Tensor:
    """Pictures convolved with a kernel for every region; beyond its edges a picture goes on as at the edge.

    Args:
        light: N x 3 x H x W.
        kernels: N x H/32 x W/32 x K x K, odd in size and the same turned by half a turn.
        reach: (K - 1) / 2.
    """
    count, (height, width) = len(light), light.shape[-2:]
    rows, columns = kernels.shape[1:3]
    side, margin = 2 * REGION, REGION // 2 + reach
    wide = F.pad(light, [margin] * 4, mode="replicate")
    size = side + 2 * reach
    pieces = wide.unfold(2, size, REGION).unfold(3, size, REGION)[:, :, :rows, :columns]  # N x 3 x rows x columns x ...
    pieces = pieces.permute(0, 2, 3, 1, 4, 5)
    whole = [size + -size % 8] * 2
    spectra = torch.fft.rfft2(pieces, s=whole) * torch.fft.rfft2(kernels, s=whole)[:, :, :, None]
    # The kernel's middle lies ``reach`` from its corner, and the piece begins ``reach`` before what is wanted.
    inside = torch.fft.irfft2(spectra, s=whole)[..., 2 * reach : 2 * reach + side, 2 * reach : 2 * reach + side]
    rise = (torch.arange(side, device=light.device) + 0.5) / REGION
    hat = torch.minimum(rise, 2 - rise)
    weight = hat[:, None] * hat
    parts = (inside * weight).permute(0, 3, 4, 5, 1, 2).reshape(count, -1, rows * columns)
    weights = weight.flatten()[None, :, None].expand(1, -1, rows * columns)

    def summed(columns_of: Tensor) -> Tensor:
        return F.fold(columns_of, (height, width), side, padding=REGION // 2, stride=REGION)

    return summed(parts) / summed(weights)


def straight_kernels(lengths: Sequence[float]) -> NDArray[np.float32]:
    """No blur, then the blur along a straight path of every length in ``ANGLES`` directions: K x S x S, sum 1 each."""
    reach = math.ceil(max(lengths) / 2) + 1
    kernels = np.zeros((1 + ANGLES * len(lengths), 2 * reach + 1, 2 * reach + 1), np.float32)
    kernels[0, reach, reach] = 1
    paths = [(length, math.pi * number / ANGLES) for length in lengths for number in range(ANGLES)]
    for kernel, (length, angle) in zip(kernels[1:], paths, strict=True):
        along = np.linspace(-length / 2, length / 2, 8 * math.ceil(length) + 1)
        y, x = reach + along * math.sin(angle), reach + along * math.cos(angle)
        top, left = np.floor(y).astype(int), np.floor(x).astype(int)
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            share = np.abs(1 - down - (y - top)) * np.abs(1 - right - (x - left))
            np.add.at(kernel, (top + down, left + right), share / len(along))
    return kernels
