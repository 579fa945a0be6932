"""Facts about networks that the rest of the program needs: role, window, sizes, tiles, precisions, loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Role = Literal["deblur", "reblur", "reblur-image", "translate", "flow", "critic", "metric", "kernel"]


@dataclass(frozen=True)
class NetworkSpec:
    """Facts about one network of the table :data:`deblurcli.networks.NETWORKS`."""

    build: Callable[..., nn.Module]
    """Builds the module; its keyword arguments are what a weights file stores under ``config``."""

    role: Role
    """``deblur``: blurred frames to the sharp centre frame. ``reblur``: sharp frames to the blurred centre frame.
    ``reblur-image``: a deblurred frame to the same with its remaining blur made strong again. ``translate``: a frame
    with one camera's blur to the same with the blur that another network knows. ``flow``: two frames
    (N x 2 x 3 x H x W) to where the pixels of the first lie in the second (N x 2 x H x W in pixels, x first).
    ``critic``: a picture to a map of scores. ``metric``: two batches of pictures to a distance for each pair.
    ``kernel``: a sharp and a blurred picture of one scene to a code of the blur (``extract``), and a sharp picture and
    a code to the picture with that blur (``adapt``)."""

    window: int = 1
    """Frames in: odd, but two for flow. 1: input N x 3 x H x W. More: N x T x 3 x H x W, whose centre frame is
    restored."""

    encodes: bool = False
    """The module has two methods that make up ``forward``: ``encode(frame: N x 3 x H x W) -> tuple[Tensor, ...]``,
    everything that depends on one frame alone, and ``fuse(encoded: those of a window) -> N x 3 x H x W``. A frame is
    then encoded once for all windows that it is part of."""

    scales: bool = False
    """The module has a method ``at_scales(more)``: itself, looking at as many coarser scales more, with the same
    weights. Large pictures take more (:func:`more_scales`)."""

    alone: str = ""
    """Name of the submodule, if any, that restores each frame by itself before those of a window are joined. Only it
    adapts to a video: the rest has learnt how sharp real neighbours are, which pseudo pairs would teach wrongly."""

    multiple_of: int = 1
    """Height and width must be multiples of this; callers pad (:func:`padded`) and crop."""

    stride: int | None = None
    """Shifting the input by a multiple of this shifts the output, away from borders. Tiles start at multiples of it.
    ``multiple_of`` where None."""

    min_size: int = 1
    """Smallest height and width after padding, in pixels."""

    overlap: int = 32
    """Pixels on each side of a tile that are blended with its neighbours; 0 where ``tileable`` is False."""

    tileable: bool = True
    """False: the whole frame must go through at once, since global statistics decide the result."""

    dtypes: tuple[str, ...] = ("fp32", "bf16", "fp16")
    """Autocast precisions whose result agrees with fp32 to 8-bit rounding. In others the network runs in fp32."""

    loss: str = "l1_fft"
    """Training loss, a name in :data:`deblurcli.losses.LOSSES`, applied to :func:`outputs`."""

    bytes_per_pixel: int = 640
    """Peak working memory of inference per pixel of a tile in fp32, measured; decides the size of tiles."""

    config: dict[str, Any] | None = None
    """Default keyword arguments of ``build``."""

    @property
    def step(self) -> int:
        """Grid on which tiles start, in pixels."""
        return self.stride or self.multiple_of

    def with_scales(self, more: int) -> NetworkSpec:
        """These facts where the module looks at more coarser scales: each doubles its grid.

        Tiles overlap as before: what a coarser scale adds is smooth, and blended.
        """
        return replace(self, multiple_of=self.multiple_of << more, stride=self.step << more)


SIDE = 720
"""Height or width in pixels, the smaller one, of the pictures that networks are made for."""
MOST_SCALES = 3
"""Coarser scales that a large picture may have more."""


def more_scales(height: int, width: int) -> int:
    """How many coarser scales a picture of so many pixels needs more than one of ``SIDE``.

    What blurs a picture of twice the size blurs it twice as far.
    """
    return min(max(round(math.log2(min(height, width) / SIDE)), 0), MOST_SCALES)


def outputs(network: nn.Module, x: Tensor) -> Tensor | list[Tensor]:
    """The tensors that a network's training loss takes: its result or, where it makes several, all scales or stages.

    Networks that make several have a method ``outputs``, which returns them in the loss's order, whatever the mode.
    Each is N x 3 x h x w (2 channels for flow) at the result's size or an even fraction of it.
    """
    return network.outputs(x) if hasattr(network, "outputs") else network(x)  # type: ignore[operator]


def padded(pictures: Tensor, multiple_of: int, min_size: int) -> Tensor:
    """Extend pictures (... x H x W) on the right and bottom to a size that a network accepts.

    They are mirrored as far as they go, then their last row and column is repeated, so that any size from 1 x 1 works.
    The new height and width are multiples of ``multiple_of``, and at least ``min_size`` pixels.
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


def unit(pixels: Tensor) -> Tensor:
    """Bytes, or half precision, to float32 in [0, 1]; what is that already stays the same tensor."""
    if pixels.dtype == torch.uint8:
        return pixels / 255
    return pixels.float() if pixels.dtype == torch.float16 else pixels
