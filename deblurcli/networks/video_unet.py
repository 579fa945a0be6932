"""The default network for videos: the single-frame network, and a fusion of its results with the neighbours' ones."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.networks.alignment import FINEST, enlarged, grey_pyramid, pyramid_flow, warp
from deblurcli.networks.plain_unet import PlainUNet, Trunk

FLOW_UNIT = 16.0
"""Pixels of motion that count as 1 among the features."""

Encoded = tuple[Tensor, ...]
"""What is computed of one frame alone: blurred and restored picture (N x 3 x H x W), and the grey pyramid's levels."""


def _as_convolved(x: Tensor) -> Tensor:
    """In the precision of convolutions here: autocast's, or unchanged without it."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


class VideoUNet(nn.Module):
    """A window of blurred frames in, the sharp centre frame out.

    Every frame is restored alone once (:meth:`encode`). The restored neighbours are then moved onto the centre frame
    along the optical flow, and a small network takes from them what the centre frame has lost (:meth:`fuse`). The flow
    also tells along which line, and about how far, each pixel was smeared while the shutter was open: the network sees
    the blurred frame at some steps along that line, so that undoing the blur is a matter of weighing a few pictures.
    It starts as its single-frame part: the fusion changes nothing before it is trained.

    Args:
        frames: in a window, odd.
        steps: how far along the motion the blurred frame is looked at, to both sides, in frame intervals.
        width, deep_width, blocks: of the fusion, a :class:`Trunk` at 1/4 of the resolution.
        base: keyword arguments of the single-frame part, :class:`PlainUNet`.

    Input: N x ``frames`` x 3 x H x W, RGB in [0, 1]; output: N x 3 x H x W (not clamped). H and W multiples of 8,
    of what the single-frame part needs, and at least 32.
    """

    def __init__(
        self,
        frames: int = 3,
        steps: tuple[float, ...] = (0.5, 1.0),
        width: int = 128,
        deep_width: int = 96,
        blocks: tuple[int, int, int] = (0, 3, 1),
        base: dict[str, object] | None = None,
    ) -> None:
        super().__init__()
        self.base = PlainUNet(**(base or {}))  # type: ignore[arg-type]
        self.steps = steps
        pictures = 2 + (frames - 1) + len(steps)
        channels = 3 * pictures * FINEST**2 + 2 * (frames - 1)
        self.fusion = Trunk(channels, width, deep_width, blocks, fold=FINEST, kernel=1)

    def at_scales(self, more: int) -> VideoUNet:
        """The same network, weights included, whose single-frame part looks at so many coarser scales more."""
        found = copy.copy(self)
        found._modules = self._modules | {"base": self.base.at_scales(more)}
        return found

    def encode(self, frame: Tensor) -> Encoded:
        """What one frame, N x 3 x H x W, gives to the windows it is part of."""
        return self.encoded(frame, self.base(frame))

    @staticmethod
    def encoded(frame: Tensor, restored: Tensor) -> Encoded:
        """:meth:`encode` of a frame whose restored picture is known already."""
        restored = restored.clamp(0, 1)
        return (frame, restored, *grey_pyramid(restored.detach()))

    def fuse(self, window: list[Encoded]) -> Tensor:
        """The restored centre frame, N x 3 x H x W, from the encodings of a window."""
        middle = len(window) // 2
        (blurred, restored, *pyramid), others = window[middle], window[:middle] + window[middle + 1 :]
        size = (blurred.shape[-2], blurred.shape[-1])
        count = len(others)
        # All neighbours at once: the coarse levels are too small to be worth a call each.
        flows = pyramid_flow(
            [level.repeat(count, 1, 1, 1) for level in pyramid],
            [torch.cat(levels) for levels in zip(*(other[2:] for other in others), strict=True)],
        ).chunk(count)
        pictures = [blurred, restored]
        for (_, neighbour, *_), flow in zip(others, flows, strict=True):
            pictures.append(warp(neighbour, enlarged(flow, size)))
        motion = enlarged((flows[middle] - flows[middle - 1]) / 2, size)
        for step in self.steps:
            pictures.append((warp(blurred, step * motion) + warp(blurred, -step * motion)) / 2)
        # Pictures are folded in the precision that the first convolution reads: they are most of the memory traffic.
        folded = [F.pixel_unshuffle(_as_convolved(picture), FINEST) for picture in pictures]
        moved = [_as_convolved(flow * (FINEST / FLOW_UNIT)) for flow in flows]
        change = self.fusion(torch.cat([*folded, *moved], 1))
        return restored + change.to(torch.promote_types(restored.dtype, torch.float32))

    def forward(self, clip: Tensor) -> Tensor:
        return self.fuse([self.encode(frame) for frame in clip.unbind(1)])
