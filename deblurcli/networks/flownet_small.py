"""FlowNet-small: optical flow from coarse to fine by one small decoder, for blurred and noisy frames as for sharp ones.

It has the correlation of FlowNetC (Dosovitskiy et al., ICCV 2015), the pyramid of features with warping of PWC-Net (Sun
et al., CVPR 2018), one decoder for all levels (Hur & Roth, "Iterative Residual Refinement for Joint Optical Flow and
Occlusion Estimation", CVPR 2019), and the learnt enlargement of RAFT (Teed & Deng, ECCV 2020). A level first moves by
the displacements that it finds alike, weighted (soft argmax), so that only the rest must be learnt: this is what lets
it learn within an hour on a CPU.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.networks.alignment import warp
from deblurcli.networks.blocks import check_clip

WIDTHS = (32, 64, 96, 128)
"""Channels of the features at levels 1 to 4 (1: half the resolution, 4: a 16th)."""
FINEST = 2
"""The level of the last estimate, a quarter of the resolution."""
REFINEMENTS = 2
"""Estimates at the finest level, one after the other; one at every other level."""
RADIUS = 3
"""Largest displacement that features are compared at, in pixels of their level."""
MATCHED, CONTEXT = 32, 32
"""Channels of the features that are compared, and of those that are only seen."""
HIDDEN = 64
"""Channels that a decoder hands on to the next level."""
SHARPNESS = 10.0
"""Exponent of how alike features are, from -1 to 1, in the weights of the displacements, before training."""
MULTIPLE = 2 ** len(WIDTHS)
GREY = 0.45
"""Subtracted from the pictures."""


BLOCK = 16
"""Columns that are compared at once."""


def correlation(first: Tensor, second: Tensor, radius: int = RADIUS) -> Tensor:
    """How alike the features of a pixel and of those around it in the other picture are, whose border repeats.

    The products of whole blocks of columns with their surroundings are one matrix product, of which the diagonals are
    kept: several times as fast on a CPU as one displacement after the other.

    Args:
        first, second: N x C x H x W, float32.

    Returns:
        N x (2 * radius + 1)^2 x H x W: the sum over the channels of the products, by displacement, row by row from top
        left.
    """
    n, channels, h, w = first.shape
    side, missing = 2 * radius + 1, -w % BLOCK
    reach = BLOCK + 2 * radius
    ours = F.pad(first, (0, missing)).permute(0, 2, 3, 1).reshape(-1, BLOCK, channels)
    theirs = F.pad(second, (radius, radius + missing, radius, radius), mode="replicate")
    theirs = theirs.unfold(3, reach, BLOCK).unfold(2, side, 1)  # N x C x H x blocks x reach x side
    theirs = theirs.permute(0, 2, 3, 1, 5, 4).reshape(len(ours), channels, side * reach)
    with torch.autocast(first.device.type, enabled=False):
        products = torch.bmm(ours, theirs)
    shape, strides = (len(ours), side, BLOCK, side), (BLOCK * side * reach, reach, side * reach + 1, 1)
    kept = products.as_strided(shape, strides).reshape(n, h, -1, side, BLOCK, side)
    return kept.permute(0, 3, 5, 1, 2, 4).reshape(n, side * side, h, w + missing)[..., :w]


def distinct(features: Tensor) -> Tensor:
    """Features without what all pixels of both pictures have in common, of length 1 at each pixel; float32.

    Args:
        features: 2 N x C x H x W, of N first pictures and of N second ones.
    """
    features = features.float().unflatten(0, (2, -1))
    centred = features - features.mean((0, 3, 4), keepdim=True)
    spread = centred.square().mean((0, 3, 4), keepdim=True).add(1e-6).sqrt()
    return F.normalize(centred / spread, dim=2).flatten(0, 1)


def conv(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """A convolution of 3 x 3 pixels and its rectifier."""
    layer = nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation)
    return nn.Sequential(layer, nn.LeakyReLU(0.1, inplace=True))


class Pyramid(nn.Module):
    """The features of pictures at levels ``FINEST`` and up, those to compare before those to see; sides in 16ths."""

    def __init__(self) -> None:
        super().__init__()
        self.head = conv(12, WIDTHS[0])
        self.levels = nn.ModuleList([conv(WIDTHS[0], WIDTHS[0])])
        for before, width in pairwise(WIDTHS):
            self.levels.append(nn.Sequential(conv(before, width, stride=2), conv(width, width)))
        self.projections = nn.ModuleList([nn.Conv2d(width, MATCHED + CONTEXT, 1) for width in WIDTHS[FINEST - 1 :]])

    def forward(self, pictures: Tensor) -> list[tuple[Tensor, Tensor]]:
        x = self.head(F.pixel_unshuffle(pictures, 2))
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        projected = zip(self.projections, features[FINEST - 1 :], strict=True)
        return [tuple(project(x).split((MATCHED, CONTEXT), 1)) for project, x in projected]


class Decoder(nn.Module):
    """A better flow at one level, whichever it is, in pixels of that level."""

    def __init__(self) -> None:
        super().__init__()
        seen = (2 * RADIUS + 1) ** 2 + 2 * MATCHED + CONTEXT + HIDDEN + 4
        self.sharpness = nn.Parameter(torch.tensor(math.log(SHARPNESS)))
        self.mix = nn.Sequential(nn.Conv2d(seen, 96, 1), nn.LeakyReLU(0.1, inplace=True))
        self.body = nn.Sequential(conv(96, 96), conv(96, 96, dilation=2), conv(96, HIDDEN, dilation=4))
        self.out = conv(HIDDEN, HIDDEN)
        self.tail = nn.Conv2d(HIDDEN, 2, 3, padding=1)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)
        # Not by torch: some of its operations without memory load its compiler.
        y, x = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1].reshape(2, -1).astype(np.float32)
        self.register_buffer("displacements", torch.from_numpy(np.stack([x, y])), persistent=False)
        self.nearness = nn.Parameter(torch.from_numpy(-(x * x + y * y) / 2))

    def forward(
        self, first: tuple[Tensor, Tensor], second: Tensor, flow: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Flow (N x 2 x h x w) and what is handed on, from the features of both pictures and those of the level above.

        Args:
            first: features of the first picture, to compare and to see.
            second: features of the second picture, to compare.
        """
        matched, context = first
        moved = warp(second, flow)
        alike = correlation(matched, moved)
        weights = (self.sharpness.exp() * alike + self.nearness[:, None, None]).softmax(1)
        found = torch.einsum("nkhw,ck->nchw", weights, self.displacements)
        x = torch.cat([alike, matched, matched - moved, context, hidden, flow / RADIUS, found / RADIUS], 1)
        hidden = self.out(self.body(self.mix(x)))
        return flow + found + self.tail(hidden).float(), hidden


class FlowNetSmall(nn.Module):
    """Two pictures in, the flow between them out: where the pixels of the first lie in the second.

    Input: N x 2 x 3 x H x W, RGB in [0, 1], of any size: their last rows and columns are repeated up to multiples of
    16 inside. Output: N x 2 x H x W in pixels, x first, float32; the loss takes the predictions (:meth:`outputs`). The
    flow is differentiable in both pictures, and is compared, warped along and added up in float32 under autocast as
    well. Raises ValueError for any other input shape.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pyramid = Pyramid()
        self.decoder = Decoder()
        self.enlarge_tail = nn.Conv2d(HIDDEN, 9 * 4**FINEST, 1)

    def forward(self, pair: Tensor) -> Tensor:
        return self.outputs(pair)[0]

    def outputs(self, pair: Tensor) -> list[Tensor]:
        """The flow at full size, twice at 1/4, and at 1/8 and 1/16 of it, in pixels of the full one."""
        check_clip(pair, 2)
        h, w = pair.shape[-2:]
        pictures = torch.cat(pair.unbind(1)) - GREY
        pictures = F.pad(pictures, (0, -w % MULTIPLE, 0, -h % MULTIPLE), mode="replicate")
        features = self.pyramid(pictures.contiguous(memory_format=torch.channels_last))
        flow, hidden = None, None
        flows: list[Tensor] = []
        for level in range(len(WIDTHS), FINEST - 1, -1):
            matched, context = features[level - FINEST]
            first, second = distinct(matched).chunk(2)
            if flow is None or hidden is None:
                flow = first.new_zeros(len(first), 2, *first.shape[-2:])
                hidden = first.new_zeros(len(first), HIDDEN, *first.shape[-2:])
            else:
                flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear")
                hidden = F.interpolate(hidden, scale_factor=2, mode="bilinear")
            for _ in range(REFINEMENTS if level == FINEST else 1):
                flow, hidden = self.decoder((first, context.chunk(2)[0]), second, flow, hidden)
                flows.insert(0, 2**level * flow[..., : math.ceil(h / 2**level), : math.ceil(w / 2**level)])
        assert flow is not None
        full = enlarged(flow, self.enlarge_tail(hidden))
        return [full[..., :h, :w], *flows]


def enlarged(flow: Tensor, scores: Tensor) -> Tensor:
    """Enlarge a flow: each fine pixel has a mean of the nine coarse ones around it, by its own weights (RAFT).

    Args:
        flow: N x 2 x h x w, in its own pixels.
        scores: N x (9 * s * s) x h x w, logarithms of the weights, for s x s fine pixels in a coarse one.

    Returns:
        N x 2 x s h x s w, in fine pixels, float32.
    """
    n, _, h, w = flow.shape
    side = math.isqrt(scores.shape[1] // 9)
    weights = scores.float().reshape(n, 1, 9, side * side, h, w).softmax(2)
    around = F.unfold(F.pad(side * flow, (1, 1, 1, 1), mode="replicate"), 3).reshape(n, 2, 9, 1, h, w)
    return F.pixel_shuffle((weights * around).sum(2).flatten(1, 2), side)
