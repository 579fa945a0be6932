"""What the rest of the tool must know of a network: the one place for size, window, tiling and precision facts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

Role = Literal["deblur", "reblur", "reblur-image", "flow", "critic", "metric"]


@dataclass(frozen=True)
class NetworkSpec:
    """Facts about one network of the table :data:`deblurcli.networks.NETWORKS`."""

    build: Callable[..., nn.Module]
    """Builds the module; keyword arguments are what a weights file stores under ``config``."""

    role: Role
    """``deblur``: blurred frames in, the sharp centre frame out. ``reblur``: the reverse. ``reblur-image``: one
    deblurred frame in, the same with the blur that was left in it made strong again out. ``flow``: two frames in
    (N x 2 x 3 x H x W), out where the pixels of the first lie in the second (N x 2 x H x W in pixels, x first).
    ``critic``: a score map. ``metric``: two batches of pictures in, how unlike each two are out."""

    window: int = 1
    """Frames in: odd, but two for flow. 1: input N x 3 x H x W; more: N x T x 3 x H x W, the centre frame is the one
    restored."""

    encodes: bool = False
    """The module has two methods that make up ``forward``: ``encode(frame: N x 3 x H x W) -> tuple[Tensor, ...]``,
    everything that is computed of one frame alone, and ``fuse(encoded: list of those of a window) -> N x 3 x H x W``.
    A frame is then encoded once for all windows it is part of."""

    alone: str = ""
    """Name of the submodule, if any, that restores each frame alone before those of a window are joined. It is what
    adapts to a video: the rest has learnt how sharp neighbours are in life, which pseudo pairs would teach wrongly."""

    multiple_of: int = 1
    """Height and width must be multiples of this; callers pad (reflect, then replicate) and crop."""

    stride: int | None = None
    """A picture moved by a multiple of this gives the same result, moved, but for its borders; parts of a picture begin
    at multiples of it. ``multiple_of`` where None."""

    min_size: int = 1
    """Smallest height and width the network accepts after padding, in pixels."""

    overlap: int = 32
    """Pixels on each side of a tile whose result is blended away; 0 with ``tileable`` False."""

    tileable: bool = True
    """False: the whole frame must go through at once (global statistics decide the result)."""

    dtypes: tuple[str, ...] = ("fp32", "bf16", "fp16")
    """Autocast precisions whose result agrees with fp32 to 8-bit rounding."""

    loss: str = "l1_fft"
    """The network's own training loss, a name in :data:`deblurcli.losses.LOSSES`, of its :func:`outputs`."""

    bytes_per_pixel: int = 640
    """Peak working memory of inference per pixel of a tile in fp32, measured; sizes the tiles."""

    config: dict[str, Any] | None = None
    """Default keyword arguments of ``build``."""

    @property
    def step(self) -> int:
        """Where parts of a picture may begin, in pixels."""
        return self.stride or self.multiple_of


def outputs(network: nn.Module, x: Tensor) -> Tensor | list[Tensor]:
    """What the network's training loss is of: its result, or where it makes several, those of all scales or stages.

    A network that makes several has a method ``outputs``, with its result among them: from the same input, whatever the
    mode, each N x 3 x h x w (2 channels if flow) at the result's size or an even fraction of it, in the loss's order.
    """
    return network.outputs(x) if hasattr(network, "outputs") else network(x)  # type: ignore[operator]


def padded(pictures: Tensor, multiple_of: int, min_size: int) -> Tensor:
    """Extend pictures (... x H x W) on the right and bottom to a size that a network accepts.

    They are mirrored as far as they go, then their last row and column is repeated, so that any size from 1 x 1 works.

    Args:
        pictures: at least three dimensions, of which the last two grow.
        multiple_of: the new height and width are multiples of this.
        min_size: the smallest height and width, in pixels.
    """
    *lead, h, w = pictures.shape
    flat = pictures.reshape(-1, 1, h, w)
    for axis, length in ((-1, w), (-2, h)):
        missing = max(min_size, math.ceil(length / multiple_of) * multiple_of) - length
        missing += -(length + missing) % multiple_of
        mirrored = min(missing, length - 1)
        for amount, mode in ((mirrored, "reflect"), (missing - mirrored, "replicate")):
            if amount:
                flat = F.pad(flat, (0, amount, 0, 0) if axis == -1 else (0, 0, 0, amount), mode=mode)
    return flat.reshape(*lead, *flat.shape[-2:])
