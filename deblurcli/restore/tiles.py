"""A network with size rules becomes a function on frames of any size: padding, tiles, blending, memory."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from deblurcli.device import Device, give_back_memory
from deblurcli.errors import DeviceError, is_out_of_memory
from deblurcli.networks import NetworkSpec
from deblurcli.networks.spec import more_scales, padded, unit
from deblurcli.options.compute import LARGE

MEMORY_BUDGET = 2 << 30
"""Most bytes that a tile's inference may take on a processor, however much is free; a card does nothing else."""

FRUGAL_BUDGET = 576 << 20
"""The same for frames that do not come as float32, which are ``LARGE`` ones of a video. Their tiles have sides that the
network takes without padding: for the default networks 896 pixels."""

MIN_TILE = 64
"""Side in pixels."""

MOST_AT_ONCE = 8
"""Frames that a card restores in one call of the network, at most: enough to keep it busy with small ones."""

RESTART = 16
"""Consecutive frames of which each hands its result on to the next one; the one after them begins anew."""

Region = tuple[int, int, int, int]
"""Top, left, height and width in pixels."""

_Encodings = dict[int, tuple[Tensor, dict[tuple[Region, bool], tuple[Tensor, ...]]]]
"""By the identity of a frame: the frame, held so that no other can take over its identity, and its encodings by region
and precision."""


def _is_large(frame: Tensor) -> bool:
    """Whether of its encodings the restored picture alone is kept."""
    return frame.shape[-2] * frame.shape[-1] > LARGE


def _compact(restored: Tensor, frame: Tensor) -> Tensor:
    """What is restored of a large frame, as precisely as it came, or in half precision."""
    restored = restored.clamp(0, 1)
    return (restored * 255).round().byte() if frame.dtype == torch.uint8 else restored.half()


def _of(frames: _Encodings, windows: Sequence[list[Tensor]]) -> _Encodings:
    """Those of frames in these windows."""
    wanted = {id(frame) for frames in windows for frame in frames}
    return {key: kept for key, kept in frames.items() if key in wanted}


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


def relieve(height: int, width: int) -> None:
    """Between two works on a frame, if it is a ``LARGE`` one, give back what the first has left."""
    if height * width > LARGE:
        give_back_memory()


def joined(batches: Sequence[Tensor]) -> Tensor:
    """Batches as one; a single one as it is."""
    return batches[0] if len(batches) == 1 else torch.cat(list(batches))


class Restorer:
    """A deblurring network as a function on frames of any size.

    Tiles are as large as memory allows. When it runs out, their side is halved, the same tile is done again, and the
    smaller size stays for the frames that follow. Networks of several scales look at more of them in large pictures. A
    frame's encodings are kept for the next call, since consecutive windows share frames; the module's weights must not
    change in between. What such a network made of a frame is what the windows behind see of it: detail is handed on
    from frame to frame until :meth:`restart`. Of ``LARGE`` frames only the restored picture is kept, in half precision;
    of those of a video, which come as bytes or in half precision, as precisely as they come, and not longer than it is
    needed.

    A graphics card restores several windows in one call of the network, as many as its memory has room for. When it is
    full, there are half as many; a single window gets smaller tiles.

    Args:
        module: the network, in eval mode, on ``device``.
        tile: ``auto``, ``off``, or the side in pixels.
        clamped: results are in [0, 1]; otherwise as the network gives them.
        warn: is told when tiles become smaller, or fewer frames are restored at once.
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
        self.most = MOST_AT_ONCE if device.is_card else 1
        self.room = self._affordable(MEMORY_BUDGET) ** 2
        """Pixels that memory has room for at once."""
        self.kept: _Encodings = {}
        """The latest window's frames, as each is alone."""
        self.done: _Encodings = {}
        """Those among them that have been restored, with the result in the place of what was restored alone."""

    @property
    def window(self) -> int:
        """Frames a call takes."""
        return self.spec.window

    def at_once(self, height: int, width: int) -> int:
        """How many windows of frames of this size one call of the network restores best: one on a processor."""
        longest = max(height, width)
        if height * width > LARGE or longest > (self.side or longest):
            return 1
        return max(1, min(self.most, self.room // (height * width)))

    def _affordable(self, budget: int) -> int:
        budget = self.device.free_memory() // 2 if self.device.is_card else min(self.device.free_memory() // 2, budget)
        return max(MIN_TILE, int(math.sqrt(budget / (self.spec.bytes_per_pixel * self.spec.window))))

    def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
        """A window of frames in (each 3 x H x W in [0, 1]), the restored centre frame out (3 x H x W float32, CPU).

        Frames that are bytes, or in half precision, give a result in half precision.

        ``precise``: compute in float32 whatever the device's precision.

        Raises:
            DeviceError: out of memory at the smallest tile.
        """
        return self.several([frames], precise=precise)[0]

    def several(self, windows: Sequence[list[Tensor]], *, precise: bool = False) -> list[Tensor]:
        """The results of several windows of frames of one size, each as a call with it alone gives it, nearly.

        They go through the network together; see :meth:`at_once`. A call's other arguments and errors.
        """
        found: list[Tensor] = []
        while len(found) < len(windows):
            found += self._together(windows[len(found) : len(found) + self.most], precise)
        return found

    def _together(self, windows: Sequence[list[Tensor]], precise: bool) -> list[Tensor]:
        """The results of these windows or, where memory does not suffice for all of them, of the first ones."""
        first = windows[0][0]
        self._fit(*first.shape[-2:])
        if self.chosen and self.side is not None and first.dtype != torch.float32:
            grid = self.spec.multiple_of
            affordable = max(self._affordable(FRUGAL_BUDGET) // grid * grid, MIN_TILE)
            self.side, self.chosen = min(self.side, affordable), False
        if self.spec.encodes:
            self.kept = {id(frame): self.kept.get(id(frame), (frame, {})) for frames in windows for frame in frames}
            self.done = _of(self.done, windows)
        while True:
            try:
                return self._whole_or_tiled(windows, precise)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            if len(windows) == 1:
                self._shrink(max(first.shape[-2:]))
                continue
            self.most = len(windows) // 2
            windows = windows[: self.most]
            self._forget()
            self._tell(f"{self.most} frame{'s' * (self.most > 1)} at a time from here on")

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
        self._forget()
        self.side = smaller
        self._tell(f"tiles are {smaller} pixels wide from here on")

    def _forget(self) -> None:
        """Let go of everything that can be computed again."""
        for _, encodings in (*self.kept.values(), *self.done.values()):
            encodings.clear()
        release_memory()

    def _tell(self, consequence: str) -> None:
        if self.warn is not None:
            self.warn(f"memory ran out on {self.device.where}; {consequence}")

    def _whole_or_tiled(self, windows: Sequence[list[Tensor]], precise: bool) -> list[Tensor]:
        h, w = windows[0][0].shape[-2:]
        made = torch.float32 if windows[0][0].dtype == torch.float32 else torch.float16
        if self.side is None or max(h, w) <= self.side:
            return list(self._run(windows, (0, 0, h, w), precise).to(made))
        return [self._tiled(frames, self.side, made, precise) for frames in windows]

    def _tiled(self, frames: list[Tensor], side: int, made: torch.dtype, precise: bool) -> Tensor:
        h, w = frames[0].shape[-2:]
        # A tile that is mostly overlap would never end; a small tile gets a small overlap.
        overlap = min(self.spec.overlap, side // 4)
        step = self.spec.step if side >= 4 * self.spec.step else self.spec.multiple_of
        total = torch.zeros(3, h, w, dtype=made)
        rows, columns = (blends(length, tile_spans(length, side, overlap, step), overlap) for length in (h, w))
        for number, (y, down) in enumerate(rows):
            for tile, (x, across) in enumerate(columns, 1):
                region = y, x, len(down), len(across)
                total[:, y : y + len(down), x : x + len(across)] += (
                    self._run([frames], region, precise)[0] * down[:, None] * across
                )
                relieve(h, w)
                if self.part is not None:
                    self.part((number + tile / len(columns)) / len(rows))
        return total

    @torch.no_grad()
    def _run(self, windows: Sequence[list[Tensor]], region: Region, precise: bool) -> Tensor:
        """The results in a region, one behind the other: N x 3 x h x w, on the processor."""
        *_, h, w = region
        with contextlib.nullcontext() if precise else self.device.autocast():
            if self.spec.encodes:
                restored = self._fused(windows, region, precise)
            elif self.spec.window == 1:
                restored = self.module(joined([self._batch(frame, region) for frame, *_ in windows]))
            else:
                clips = [torch.stack([self._batch(frame, region) for frame in frames], 1) for frames in windows]
                restored = self.module(joined(clips).contiguous())
        return restored[:, :, :h, :w].float().clamp(*self.range).cpu()

    def _fused(self, windows: Sequence[list[Tensor]], region: Region, precise: bool) -> Tensor:
        """As ``_run``, by a network that encodes each frame once; each window sees what became of the frames before."""
        if len(windows) > 1:
            self._encode_together(windows, region, precise)
        place, results = (region, precise), []
        for frames in windows:
            middle = len(frames) // 2
            first, centre = frames[0], frames[middle]
            seen = []
            for at, frame in enumerate(frames):
                found = self._handed_on(frame, place) if at < middle and frame is not centre else None
                seen.append(self._encoded(frame, region, precise) if found is None else found)
            results.append(self.module.fuse(seen))  # type: ignore[operator]
            whole = math.isfinite(float(results[-1].sum()))
            if whole:
                blurred, restored, *_ = seen[middle]
                self.done.setdefault(id(centre), (centre, {}))[1][place] = (
                    (_compact(results[-1], centre),)
                    if _is_large(centre)
                    else self.module.encoded(blurred, results[-1].to(restored.dtype))  # type: ignore[operator]
                )
            if first.dtype != torch.float32:  # large ones: what later windows have no use for is let go
                if whole:
                    self.kept[id(centre)][1].pop(place, None)
                if all(frame is not first for frame in frames[1:]):
                    for encodings in (self.kept, self.done):
                        encodings.get(id(first), (first, {}))[1].pop(place, None)
        return joined(results)

    def _handed_on(self, frame: Tensor, place: tuple[Region, bool]) -> tuple[Tensor, ...] | None:
        """The encodings of a region of a frame that has been restored, with its result."""
        found = self.done.get(id(frame), (frame, {}))[1].get(place)
        if found is None or not _is_large(frame):
            return found
        return self.module.encoded(self._batch(frame, place[0]), unit(found[0]))  # type: ignore[operator]

    def restart(self) -> None:
        """Hand nothing on from the frames before to those that follow: they come out as if these were the first."""
        self.done.clear()

    def _encode_together(self, windows: Sequence[list[Tensor]], region: Region, precise: bool) -> None:
        """Encode those frames in one call that are new."""
        frames = {id(frame): frame for frames in windows for frame in frames}
        new = [frame for key, frame in frames.items() if (region, precise) not in self.kept[key][1]]
        if new:
            parts = self.module.encode(joined([self._batch(frame, region) for frame in new]))  # type: ignore[operator]
            for frame, *encoding in zip(new, *(part.split(1) for part in parts), strict=True):
                self.kept[id(frame)][1][region, precise] = tuple(encoding)

    def _encoded(self, frame: Tensor, region: Region, precise: bool) -> tuple[Tensor, ...]:
        """The network's encodings of a region of one frame; at the second time, from memory."""
        _, encodings = self.kept[id(frame)]
        if not _is_large(frame):
            if (region, precise) not in encodings:
                encodings[region, precise] = self.module.encode(self._batch(frame, region))  # type: ignore[operator]
            return encodings[region, precise]
        batch = self._batch(frame, region)
        if (region, precise) not in encodings:
            encodings[region, precise] = (_compact(self.module.base(batch), frame),)  # type: ignore[operator]
        return self.module.encoded(batch, unit(encodings[region, precise][0]))  # type: ignore[operator]

    def _batch(self, frame: Tensor, region: Region) -> Tensor:
        """A region of a frame as a batch of one on the device, of a size that the network takes."""
        y, x, h, w = region
        batch = padded(unit(frame[None, :, y : y + h, x : x + w]), self.spec.multiple_of, self.spec.min_size)
        return batch.to(self.device.where).contiguous(memory_format=torch.channels_last)
