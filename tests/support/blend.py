"""A small network of three frames that encodes each of them once, and videos for it."""

from __future__ import annotations

from fractions import Fraction

import torch
import torch.nn.functional as F
from scenes import scene
from torch import Tensor, nn

from deblurcli.media.frames import Frame
from deblurcli.media.layout import Colour, layout_of
from deblurcli.networks import NetworkSpec

HEIGHT, WIDTH = 96, 128


class Blend(nn.Module):
    """A frame with some of its smoothed neighbours; counts the frames it encodes, and how large they were."""

    def __init__(self, memory: int = 10**9) -> None:
        super().__init__()
        self.memory = memory
        self.sizes: list[tuple[int, int]] = []
        self.autocast: list[bool] = []
        self.channels_last: list[bool] = []

    def encode(self, frame: Tensor) -> tuple[Tensor, ...]:
        self.sizes.append((frame.shape[-2], frame.shape[-1]))
        self.autocast.append(torch.is_autocast_enabled("cpu"))
        self.channels_last.append(frame.is_contiguous(memory_format=torch.channels_last))
        return self.encoded(frame, F.avg_pool2d(frame, 3, 1, 1, count_include_pad=False))

    def encoded(self, frame: Tensor, restored: Tensor) -> tuple[Tensor, ...]:
        return frame, restored

    def fuse(self, encoded: list[tuple[Tensor, ...]]) -> Tensor:
        if encoded[0][0][0, 0].numel() > self.memory:
            raise RuntimeError("out of memory")
        before, centre, after = encoded
        return 0.6 * centre[0] + 0.3 * before[1] + 0.1 * after[1]

    def forward(self, clip: Tensor) -> Tensor:
        return self.fuse([self.encode(frame) for frame in clip.unbind(1)])


ENCODES = NetworkSpec(Blend, "deblur", window=3, encodes=True, overlap=8)


def frames_of(*seeds: int) -> list[Frame]:
    """One frame of each scene, in full-range RGB."""
    layout = layout_of("gbrp", Colour("rgb", full_range=True, guessed=False))
    frames = []
    for index, seed in enumerate(seeds):
        red, green, blue = (scene(seed, HEIGHT, WIDTH + 40)[:, :, index : index + WIDTH] * 255).round().byte().numpy()
        frames.append(Frame((green, blue, red), layout, index, Fraction(1, 25), 1))
    return frames
