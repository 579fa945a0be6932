"""A network with size rules becomes a function on frames of any size: padding, tiles, blending, memory."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from deblurcli.device import Device, give_back_memory
from deblurcli.errors import DeviceError, is_out_of_memory
from deblurcli.networks import NetworkSpec
from deblurcli.networks.spec import more_scales, padded, unit
from deblurcli.options.compute import LARGE

MEMORY_BUDGET = 2 << 30
"""Most bytes that a tile's inference may take, however much is free."""

FRUGAL_BUDGET = 768 << 20
"""The same for frames that do not come as float32, which are ``LARGE`` ones of a video."""

MIN_TILE = 64
"""Side in pixels."""

Region = tuple[int, int, int, int]
"""Top, left, height and width in pixels."""


def tile_spans(length: int, tile: int, overlap: int, step: int = 1) -> list[tuple[int, int]]:
    """Begin and size of the tiles that cover ``length`` pixels; neighbours share at least ``2 * overlap``.

    Tiles start at multiples of ``step``, the network's grid: strided networks are not shift-invariant off it. Where
    ``step`` divides neither ``length`` nor ``tile``, the last one is smaller.
    """
    if tile >= length:
        return [(0, length)]
    count = math.ceil((length - tile) / max((tile - 2 * overlap) // step * step, step)) + 1
    last = math.ceil((length - tile) / step)
    starts = (round(i * last / (count - 1)) * step for i in range(count))
    return [(start, min(tile, length - start)) for start in starts]


def ramp(length: int, size: int, start: int, overlap: int) -> Tensor:
    """Blending weights along one axis of a tile (``size`` values): they rise from 0 where it has neighbours, else 1.

    The outermost quarter of the overlap, where the tile lacks most context, does not count.
    """
    distance = torch.arange(size) + 0.5
    rise = ((distance - overlap / 2) / (1.5 * overlap)).clamp(1e-6, 1) if overlap else torch.ones(size)
    left = rise if start > 0 else torch.ones(size)
    right = rise.flip(0) if start + size < length else torch.ones(size)
    return left * right


def blends(length: int, spans: list[tuple[int, int]], overlap: int) -> list[tuple[int, Tensor]]:
    """Begin and blending weights of each tile along one axis; at every pixel the weights of all tiles add up to 1."""
    found = [(start, ramp(length, size, start, overlap)) for start, size in spans]
    total = torch.zeros(length)
    for start, weights in found:
        total[start : start + len(weights)] += weights
    return [(start, weights / total[start : start + len(weights)]) for start, weights in found]


def release_memory() -> None:
    """Give back what nothing uses any more: cycles of Python's, and what malloc and torch keep."""
    gc.collect()
    give_back_memory()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def relieve(frame: Tensor) -> None:
    """Between two works on a ``LARGE`` frame (3 x H x W), give back what the first has left."""
    if frame.shape[-2] * frame.shape[-1] > LARGE:
        give_back_memory()


class Restorer:
    """A deblurring network as a function on frames of any size.

    Tiles are as large as memory allows. When it runs out, their side is halved, the same tile is done again, and the
    smaller size stays for the frames that follow. Networks of several scales look at more of them in large pictures. A
    frame's encodings are kept for the next call, since consecutive windows share frames; the module's weights must not
    change in between. Of ``LARGE`` frames only the restored picture is kept, in half precision; of those of a video,
    which come as bytes or in half precision, as precisely as they come, and not longer than it is needed.

    Args:
        module: the network, in eval mode, on ``device``.
        tile: ``auto``, ``off``, or the side in pixels.
        clamped: results are in [0, 1]; otherwise as the network gives them.
        warn: is told when tiles become smaller.
        part: is told after each of several tiles how much (0 to 1) of the frame is done.
    """

    def __init__(
        self,
        module: nn.Module,
        spec: NetworkSpec,
        device: Device,
        tile: str = "auto",
        *,
        clamped: bool = True,
        warn: Callable[[str], object] | None = None,
        part: Callable[[float], object] | None = None,
    ) -> None:
        self.warn, self.part = warn, part
        self.module, self.spec, self.device = module.eval(), spec, device
        self.usual, self.more = (self.module, spec), 0
        self.range = (0.0, 1.0) if clamped else (-math.inf, math.inf)
        self.side: int | None = None
        self.chosen = spec.tileable and tile == "auto"
        if spec.tileable and tile != "off":
            self.side = int(tile) if tile != "auto" else self._affordable(MEMORY_BUDGET)
        # The latest window's frames by identity, each with its encodings by region and precision. The frame itself is
        # held so that no other can take over its identity.
        self.kept: dict[int, tuple[Tensor, dict[tuple[Region, bool], tuple[Tensor, ...]]]] = {}

    @property
    def window(self) -> int:
        """Frames a call takes."""
        return self.spec.window

    def _affordable(self, budget: int) -> int:
        budget = min(self.device.free_memory() // 2, budget)
        return max(MIN_TILE, int(math.sqrt(budget / (self.spec.bytes_per_pixel * self.spec.window))))

    def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
        """A window of frames in (each 3 x H x W in [0, 1]), the restored centre frame out (3 x H x W float32, CPU).

        Frames that are bytes, or in half precision, give a result in half precision.

        ``precise``: compute in float32 whatever the device's precision.

        Raises:
            DeviceError: out of memory at the smallest tile.
        """
        self._fit(*frames[0].shape[-2:])
        if self.chosen and self.side is not None and frames[0].dtype != torch.float32:
            self.side, self.chosen = min(self.side, self._affordable(FRUGAL_BUDGET)), False
        if self.spec.encodes:
            self.kept = {id(frame): self.kept.get(id(frame), (frame, {})) for frame in frames}
        while True:
            try:
                return self._tiled(frames, precise)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            self._shrink(max(frames[0].shape[-2:]))

    def _fit(self, height: int, width: int) -> None:
        """Look at as many scales as pictures of this size need."""
        module, spec = self.usual
        more = more_scales(height, width) if spec.scales else 0
        if more != self.more:
            self.more, self.kept = more, {}
            self.module = module.at_scales(more)  # type: ignore[operator]
            self.spec = spec.with_scales(more)

    def _shrink(self, longest: int) -> None:
        smaller = min(self.side or longest, longest) // 2
        if not self.spec.tileable or smaller < MIN_TILE:
            raise DeviceError(
                f"out of memory on {self.device.where} at the smallest tile", "free memory or choose another --device"
            )
        for _, encodings in self.kept.values():
            encodings.clear()
        release_memory()
        self.side = smaller
        if self.warn is not None:
            self.warn(f"memory ran out on {self.device.where}; tiles are {smaller} pixels wide from here on")

    def _tiled(self, frames: list[Tensor], precise: bool) -> Tensor:
        h, w = frames[0].shape[-2:]
        made = torch.float32 if frames[0].dtype == torch.float32 else torch.float16
        if self.side is None or max(h, w) <= self.side:
            return self._run(frames, (0, 0, h, w), precise).to(made)
        # A tile that is mostly overlap would never end; a small tile gets a small overlap.
        overlap = min(self.spec.overlap, self.side // 4)
        step = self.spec.step if self.side >= 4 * self.spec.step else self.spec.multiple_of
        total = torch.zeros(3, h, w, dtype=made)
        rows, columns = (blends(length, tile_spans(length, self.side, overlap, step), overlap) for length in (h, w))
        for number, (y, down) in enumerate(rows):
            for tile, (x, across) in enumerate(columns, 1):
                region = y, x, len(down), len(across)
                total[:, y : y + len(down), x : x + len(across)] += (
                    self._run(frames, region, precise) * down[:, None] * across
                )
                relieve(total)
                if self.part is not None:
                    self.part((number + tile / len(columns)) / len(rows))
        return total

    @torch.no_grad()
    def _run(self, frames: list[Tensor], region: Region, precise: bool) -> Tensor:
        *_, h, w = region
        with contextlib.nullcontext() if precise else self.device.autocast():
            if self.spec.encodes:
                restored = self.module.fuse([self._encoded(frame, region, precise) for frame in frames])  # type: ignore[operator]
                if frames[0].dtype != torch.float32 and all(frame is not frames[0] for frame in frames[1:]):
                    self.kept[id(frames[0])][1].pop((region, precise), None)  # no later window has it
            elif self.spec.window == 1:
                restored = self.module(self._batch(frames[0], region))
            else:
                restored = self.module(torch.stack([self._batch(frame, region) for frame in frames], 1).contiguous())
        return restored[0, :, :h, :w].float().clamp(*self.range).cpu()

    def _encoded(self, frame: Tensor, region: Region, precise: bool) -> tuple[Tensor, ...]:
        """The network's encodings of a region of one frame; at the second time, from memory."""
        _, encodings = self.kept[id(frame)]
        if frame.shape[-2] * frame.shape[-1] <= LARGE:
            if (region, precise) not in encodings:
                encodings[region, precise] = self.module.encode(self._batch(frame, region))  # type: ignore[operator]
            return encodings[region, precise]
        batch = self._batch(frame, region)
        if (region, precise) not in encodings:
            restored = self.module.base(batch).clamp(0, 1)  # type: ignore[operator]
            kept = (restored * 255).round().byte() if frame.dtype == torch.uint8 else restored.half()
            encodings[region, precise] = (kept,)
        return self.module.encoded(batch, unit(encodings[region, precise][0]))  # type: ignore[operator]

    def _batch(self, frame: Tensor, region: Region) -> Tensor:
        """A region of a frame as a batch of one on the device, of a size that the network takes."""
        y, x, h, w = region
        batch = padded(unit(frame[None, :, y : y + h, x : x + w]), self.spec.multiple_of, self.spec.min_size)
        return batch.to(self.device.where).contiguous(memory_format=torch.channels_last)
