"""CDVD-TSP: neighbours are moved onto the centre frame along optical flow, and where they agree it counts as sharp.

Source: Pan et al., "Cascaded Deep Video Deblurring Using Temporal Sharpness Prior", CVPR 2020, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.networks.blocks import ResBlock, check_clip
from deblurcli.networks.pwc_net import PWCNet, sampled

FRAMES = 5
BOX = 5
"""Side in pixels of the squares whose means are compared between frames."""


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 5, stride, padding=2)


def up(inputs: int, outputs: int) -> nn.Sequential:
    transposed = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(transposed, nn.ReLU(inplace=True))


def blocks(channels: int) -> list[nn.Module]:
    return [ResBlock(channels, kernel=5) for _ in range(3)]


def aligned(picture: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Sample N x C x H x W at each pixel plus its flow (N x 2 x H x W, pixels, x first).

    Returns the samples, zero where they lie outside of the picture, and N x 1 x H x W, 1 where they do not, else 0.
    """
    h, w = picture.shape[-2:]
    x = 2 * (torch.arange(w, device=flow.device) + flow[:, 0]) / (w - 1) - 1
    y = 2 * (torch.arange(h, device=flow.device)[:, None] + flow[:, 1]) / (h - 1) - 1
    return sampled(picture, x, y, "border")


def box_mean(x: Tensor) -> Tensor:
    """Mean over a square around each pixel, zeros outside of the picture; N x C x H x W."""
    return F.avg_pool2d(x, BOX, stride=1, padding=BOX // 2)


@torch.no_grad()
def sharpness_prior(before: Tensor, frame: Tensor, after: Tensor, visible: Tensor) -> Tensor:
    """How far aligned neighbours agree with a frame, which sharp pixels do (section 3.3, eq. 5 and 6).

    Args:
        before, frame, after: N x 3 x H x W, the neighbours moved onto the frame.
        visible: N x 1 x H x W, 1 where both of them show it, else 0.

    Returns:
        N x 1 x H x W in [0, 1], 0 where not visible. No gradient flows through it.
    """
    centre = box_mean(frame)
    # The sum over the neighbours counts half, as in the authors' code.
    differences = ((box_mean(before) - centre).square() + (box_mean(after) - centre).square()) / 2
    return torch.exp(-differences.sum(1, keepdim=True).sqrt()) * visible


class Reconstruction(nn.Module):
    """Three aligned frames and their sharpness prior, N x 10 x H x W, to the middle one restored; multiples of 4."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        c1, c2, c3 = width, 2 * width, 4 * width

        def entry(inputs: int, outputs: int, stride: int) -> nn.Sequential:
            return nn.Sequential(conv(inputs, outputs, stride), nn.ReLU(inplace=True))

        self.inBlock = nn.Sequential(entry(10, c1, 1), *blocks(c1))
        self.encoder_first = nn.Sequential(entry(c1, c2, 2), *blocks(c2))
        self.encoder_second = nn.Sequential(entry(c2, c3, 2), *blocks(c3))
        self.decoder_second = nn.Sequential(*blocks(c3), up(c3, c2))
        self.decoder_first = nn.Sequential(*blocks(c2), up(c2, c1))
        self.outBlock = nn.Sequential(*blocks(c1), conv(c1, 3))

    def forward(self, x: Tensor) -> Tensor:
        full = self.inBlock(x)
        half = self.encoder_first(full)
        quarter = self.encoder_second(half)
        half = self.decoder_second(quarter) + half
        return self.outBlock(self.decoder_first(half) + full)


class CDVDTSP(nn.Module):
    """A clip of five blurred frames in, the sharp centre frame out.

    The three inner frames are restored from their neighbours first, then the centre frame from these by the same
    weights.

    Input: N x 5 x 3 x H x W, RGB in [0, 1], in order of time; H and W multiples of 4. Output, not clamped, float32: the
    centre frame after the second pass; the loss is of both passes, see :meth:`outputs`.
    Raises ValueError for any other input shape.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flow_net = PWCNet()
        self.recons_net = Reconstruction()

    def forward(self, clip: Tensor) -> Tensor:
        return self.passes(clip)[-1]

    def outputs(self, clip: Tensor) -> list[Tensor]:
        """The centre frame after the first and the second pass."""
        _, centre, _, final = self.passes(clip)
        return [centre, final]

    def passes(self, clip: Tensor) -> list[Tensor]:
        """Frames 1, 2 and 3 after the first pass and frame 2 after the second."""
        check_clip(clip, FRAMES, multiple_of=4)
        first = self.restored(clip.unbind(1))
        return [*first, *self.restored(first)]

    def restored(self, frames: Sequence[Tensor]) -> list[Tensor]:
        """Every frame that has a neighbour on both sides, restored; each N x 3 x H x W."""
        pyramids = [self.flow_net.pyramid(frame) for frame in frames]
        results = []
        for i, frame in enumerate(frames[1:-1], 1):
            size = (frame.shape[-2], frame.shape[-1])
            flows = (self.flow_net.between(pyramids[i], pyramids[other], size) for other in (i - 1, i + 1))
            neighbours = (frames[i - 1], frames[i + 1])
            (before, seen), (after, seen_too) = (aligned(*pair) for pair in zip(neighbours, flows, strict=True))
            prior = sharpness_prior(before, frame, after, seen * seen_too)
            change = self.recons_net(torch.cat([before, frame, after, prior], 1))
            results.append(change.to(torch.promote_types(frame.dtype, torch.float32)))
        return results
