"""Detail from sharper frames of the same shot: where one of them shows a place sharper, the restored frame takes of it.

A hand that holds a camera rests now and then. What such a moment shows sharp stays in view for many frames, and no
network brings as much of it back as was seen there. The frames are restored first. Then each is compared with those up
to ``reach`` away that are sharper than it as a whole; they are registered by optical flow, and put together with it by
weights that say how much sharper they are at each place, and whether they show the same there.

Sources: Cho, Wang & Lee, "Video Deblurring for Hand-held Cameras Using Patch-based Synthesis" (ACM Transactions on
Graphics 31, 2012), from which "lucky" is; Delbracio & Sapiro, "Hand-Held Video Deblurring Via Efficient Fourier
Aggregation" (IEEE Transactions on Computational Imaging 1, 2015), section III: registration, its check by flow forth
and back, and weights by sharpness. Here the weights are those of places, not of frequencies, and the frames are
restored ones.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SOURCES, NEARNESS = 4, 5.0
"""Frames that detail is taken from at most, and by how many frames farther away one must be e times as sharp."""
SHARPER = 1.05
"""Sharpness of a frame, relative to the one that is improved, from which it is looked at."""
FROM, FULLY = 1.3, 2.5
"""Relative sharpness of a place from which detail is taken, and where the weight is largest."""
WEIGHT = 8.0
"""Largest weight of a sharper place; the frame's own is 1."""
RETURN = 0.7
"""Pixels that the flow forth and back may miss its start by: the weight is then 1/e."""
UNLIKE = 0.03
"""Difference of what is seen, without fine detail, as a share of full scale, at which the weight is 1/e."""
FINE, AROUND, ALIKE, SOFT = 1.5, 12.0, 2.0, 3.0
"""Gaussians' deviations in pixels: of what is no fine detail, of the surroundings in which sharpness and likeness are
judged, and by which the weights are smooth."""
QUARTER = 4
"""Side in pixels of the squares in which sharpness is averaged, and brightness for the flow."""
LEAST_WEIGHT = 0.01
"""Weight that a place of the others must have anywhere for the frame to be changed at all."""
NOISE = 2e-6
"""Mean square of fine detail that counts as none: about a third of a grey level."""
MIN_SIDE = 64
"""Pixels of a frame's smaller side below which nothing is taken."""
MEMORY, PIXEL_BYTES, LEAST = 560 << 20, 16, 3
"""Bytes that waiting frames may take; bytes of a pixel for each frame of reach; and the least reach worth having."""

AT_ONCE = 2560 * 1440
"""Pixels of a frame that is worked on at once; a larger one takes its turn in bands."""
BAND, MARGIN = 144, 28
"""Rows of a band, and of those above and below that the Gaussians reach; multiples of ``QUARTER``."""

Item = TypeVar("Item")
Picture = NDArray[np.generic]
"""H x W x 3, uint8 or uint16."""


def reach_within(height: int, width: int, frames: int) -> int:
    """How many frames away others may be, of those asked for, by memory; 0 where too few, or frames are small."""
    if min(height, width) < MIN_SIDE:
        return 0
    found = min(frames, MEMORY // (PIXEL_BYTES * height * width))
    return found if found >= min(LEAST, frames) else 0


class _View:
    """A restored frame, and what all that it is compared with ask of it.

    Args:
        full: the largest value of its samples.
    """

    def __init__(self, picture: Picture, full: int) -> None:
        self.picture = picture
        brightness = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        grey = brightness if full == 255 else np.asarray(cv2.convertScaleAbs(brightness, alpha=255 / full))
        self.small = _reduced(grey)
        """The brightness in bytes, at a quarter of the size, for the flow."""
        self.squares, self.sharpness = _squares(brightness, full)
        """The fine detail's mean square in squares of pixels, and of all of it."""


@dataclass
class _Seen(Generic[Item]):
    """A restored frame of the shot."""

    item: Item | None
    """None: it was handed on, and is held for those behind it alone."""
    view: _View | None
    """None: it came out broken; nothing is taken from it or given to it."""


class LuckyFrames(Generic[Item]):
    """What restored frames gain from sharper ones, frame by frame, each known ``reach`` frames later.

    Args:
        reach: frames before and behind a frame that are looked at. None across a cut.
        deep: frames have more than 8 bits, and are held in 16.
    """

    def __init__(self, reach: int, *, deep: bool = False) -> None:
        self.reach = reach
        self.full = 65535 if deep else 255
        self._held: deque[_Seen[Item]] = deque()
        self._waiting = 0

    def add(self, item: Item, restored: Tensor | None, starts_shot: bool) -> list[tuple[Item, Tensor | None]]:
        """Take the next frame, 3 x H x W in [0, 1], or None if it came out broken.

        Returns:
            items that are known by now, in order, each with what is to be added to the frame (3 x H x W), or None.
        """
        known = self.rest() if starts_shot else []
        small = restored is None or min(restored.shape[1:]) < MIN_SIDE
        self._held.append(_Seen(item, None if restored is None or small else _View(self._held_as(restored), self.full)))
        self._waiting += 1
        if self._waiting > self.reach:
            known.append(self._next())
        return known

    def rest(self) -> list[tuple[Item, Tensor | None]]:
        """Those that are left at the end of a shot."""
        known = [self._next() for _ in range(self._waiting)]
        self._held.clear()
        return known

    def _held_as(self, restored: Tensor) -> Picture:
        kind = torch.uint8 if self.full == 255 else torch.uint16
        scaled = restored.clamp(0, 1).mul_(self.full).round_().to(kind)
        return np.asarray(cv2.merge([plane.numpy() for plane in scaled]))

    def _next(self) -> tuple[Item, Tensor | None]:
        """The first frame that waits, and what it gains from those around it."""
        at = len(self._held) - self._waiting
        frame = self._held[at]
        found = None
        if frame.view is not None:
            sources = self._sources(at, frame.view.sharpness + NOISE)
            found = self._gain(frame.view, sources) if sources else None
        item, frame.item = frame.item, None
        self._waiting -= 1
        while len(self._held) - self._waiting > self.reach:
            self._held.popleft()
        assert item is not None
        return item, found

    def _sources(self, at: int, own: float) -> list[_View]:
        """The frames around one that are sharper as a whole than it is, the best first."""
        ranked = []
        for place, other in enumerate(self._held):
            if other.view is None or abs(place - at) > self.reach:
                continue
            gain = (other.view.sharpness + NOISE) / own
            if gain > SHARPER:
                ranked.append((math.log(gain) - abs(place - at) / NEARNESS, -place, other.view))
        ranked.sort(key=lambda each: each[:2], reverse=True)
        return [view for _, _, view in ranked[:SOURCES]]

    def _gain(self, view: _View, sources: Sequence[_View]) -> Tensor | None:
        """What is to be added to a frame, or None where nowhere a place of the others counts."""
        height, width = view.picture.shape[:2]
        gain = torch.empty(3, height, width)
        largest = 0.0
        with ThreadPoolExecutor(max(1, min(len(sources), torch.get_num_threads()))) as pool:
            others = list(pool.map(partial(_Moved, view, full=self.full), sources))
            for band in _bands(height, width):
                frame = _Part(view, band, self.full)
                found = [each for each in pool.map(frame.from_source, others) if each is not None]
                part = gain[:, band.top : band.bottom]
                if not found:
                    part.zero_()
                    continue
                weight, change = found[0]
                for its_weight, its_change in found[1:]:
                    weight += its_weight
                    change += its_change
                largest = max(largest, float(weight.max()))
                weight += 1
                share = np.divide(1, np.multiply(weight, self.full, out=weight), out=weight)
                for plane, rows in zip(cv2.split(change), part, strict=True):
                    np.multiply(plane, share, out=rows.numpy())
        return gain if largest >= LEAST_WEIGHT else None


class _Band(NamedTuple):
    """Some rows of a frame, and those around them that matter."""

    top: int
    bottom: int
    begin: int
    end: int

    @property
    def inner(self) -> slice:
        """Its rows among those with what matters around them."""
        return slice(self.top - self.begin, self.bottom - self.begin)


def _bands(height: int, width: int) -> list[_Band]:
    """All of a frame at once, or a large one in bands: what is computed is the same, in less memory."""
    rows = height if height * width <= AT_ONCE else BAND
    tops = range(0, max(height - rows // 2, 1), rows)
    return [
        _Band(top, bottom, max(0, top - MARGIN), min(bottom + MARGIN, height))
        for top, bottom in zip(tops, [*tops[1:], height], strict=True)
    ]


class _Moved:
    """A sharper frame, moved to the one that is improved.

    Flow is found at a quarter of the size: what DIS finds in whole frames is that, enlarged. Of large frames it is
    found at an eighth, in a fifth of the time; it is smoother, and in 4K more detail is taken by it.
    """

    def __init__(self, view: _View, source: _View, full: int) -> None:
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        height, width = view.picture.shape[:2]
        search.setFinestScale(int(height * width > AT_ONCE))
        self.there = search.calc(view.small, source.small, None) * np.float32(QUARTER)
        self.back = search.calc(source.small, view.small, None) * np.float32(QUARTER)
        """From each place of the one frame to that of the other, in pixels of whole frames (H/4 x W/4 x 2)."""
        self.picture = np.empty_like(view.picture)
        for band in _bands(height, width):
            there = _enlarged(self.there, band.top, band.bottom, height, width)
            places = _reached(there, band.top)
            self.picture[band.top : band.bottom] = _moved(source.picture, places, cv2.INTER_CUBIC)
        self.squares = _squares(cv2.cvtColor(self.picture, cv2.COLOR_RGB2GRAY), full)[0]


class _Part:
    """Some rows of a frame that is improved: what of them each source is compared with."""

    def __init__(self, view: _View, band: _Band, full: int) -> None:
        self.band, self.full = band, full
        self.height, self.width = view.picture.shape[:2]
        self.picture = view.picture[band.begin : band.end]
        self.coarse = _coarse(self.picture)
        self.sharpness = self._around(view.squares)

    def from_source(self, source: _Moved) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """The weight of each place of a sharper frame (h x W), and its difference times the weight (h x W x 3).

        None where the sharper frame is nowhere sharp enough.
        """
        share = self._share(source)
        if not share.any():
            return None
        moved, inner = source.picture[self.band.begin : self.band.end], self.band.inner
        missed = self._missed(source)
        missed /= RETURN**2
        unlike = functools.reduce(cv2.max, cv2.split(cv2.absdiff(_coarse(moved), self.coarse)))
        unlike = cv2.GaussianBlur(unlike.astype(np.float32), (0, 0), ALIKE)
        unlike /= UNLIKE * self.full
        doubt = np.negative(missed, out=missed)
        doubt -= np.square(unlike, out=unlike)
        weight = WEIGHT * share
        weight *= share
        weight *= 3 - 2 * share
        weight *= np.exp(doubt, out=doubt)
        weight = np.array(cv2.GaussianBlur(weight, (0, 0), SOFT)[inner], np.float32)
        change = cv2.subtract(moved[inner], self.picture[inner], dtype=cv2.CV_32F)
        return weight, np.asarray(cv2.multiply(change, cv2.merge([weight] * 3), dst=change), np.float32)

    def _missed(self, source: _Moved) -> NDArray[np.float32]:
        """By how much the flow forth and back misses its start, squared, in pixels."""
        band, size = self.band, (self.height, self.width)
        there = _enlarged(source.there, band.begin, band.end, *size)
        places = _reached(there, band.begin)
        # Of the flow back, the rows that the flow forth ends in.
        first = min(max(math.floor(places[..., 1].min()) - 1, 0), self.height - 1)
        last = min(max(math.ceil(places[..., 1].max()) + 2, first + 1), self.height)
        places[..., 1] -= first
        back = _moved(_enlarged(source.back, first, last, *size), places, cv2.INTER_LINEAR)
        loop = np.add(there, back, out=there)
        x, y = np.moveaxis(np.square(loop, out=loop), 2, 0)
        return np.asarray(x + y)  # OpenCV's magnitude differs with the place in memory

    def _share(self, source: _Moved) -> NDArray[np.float32]:
        """How far each place of a sharper frame, moved to this one, is sharper: 0 from ``FROM``, 1 at ``FULLY``."""
        share = self._around(source.squares)
        share /= self.sharpness
        np.log(share, out=share)
        share -= math.log(FROM)
        share /= math.log(FULLY / FROM)
        return np.clip(share, 0, 1, out=share)

    def _around(self, squares: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean square of the fine detail around each pixel, from that in squares."""
        smooth = np.asarray(cv2.GaussianBlur(squares, (0, 0), AROUND / QUARTER))
        around = _enlarged(smooth, self.band.begin, self.band.end, self.height, self.width)
        around += np.float32(NOISE)
        return around


def _reached(flow: NDArray[np.float32], top: int) -> NDArray[np.float32]:
    """Where some rows' pixels lie that flow takes along, h x W x 2, x first."""
    places = np.empty_like(flow)
    np.add(flow[..., 0], np.arange(flow.shape[1], dtype=np.float32), out=places[..., 0])
    np.add(flow[..., 1], np.arange(top, top + len(flow), dtype=np.float32)[:, None], out=places[..., 1])
    return places


def _reduced(picture: Picture) -> Picture:
    """A picture at a quarter of its size: means of squares. What is below the last whole row of them is left out."""
    rows, width = picture.shape[0] // QUARTER, picture.shape[1]
    return np.asarray(cv2.resize(picture[: rows * QUARTER], (width // QUARTER, rows), interpolation=cv2.INTER_AREA))


def _enlarged(small: NDArray[np.float32], top: int, bottom: int, height: int, width: int) -> NDArray[np.float32]:
    """Some rows of what is known at a quarter of a frame's size, at its whole size."""
    rows = len(small)
    first, last = max(min(top // QUARTER, rows) - 1, 0), min(-(-bottom // QUARTER) + 1, rows)
    found = cv2.resize(small[first:last], (width, (last - first) * QUARTER))
    missing = bottom - last * QUARTER
    if missing > 0:  # below the last whole row of squares
        found = cv2.copyMakeBorder(found, 0, missing, 0, 0, cv2.BORDER_REPLICATE)
    return np.array(found[top - first * QUARTER : bottom - first * QUARTER], np.float32)


def _moved(picture: Picture, places: NDArray[np.float32], how: int) -> Picture:
    """What a picture shows at some places (H x W x 2, x first)."""
    return np.asarray(cv2.remap(picture, places, None, how, borderMode=cv2.BORDER_REPLICATE))


def _squares(brightness: Picture, full: int) -> tuple[NDArray[np.float32], float]:
    """Means of the square of the fine detail, of full scale 1: in squares of pixels, and of all of it.

    What is judged in surroundings is smooth, so that squares suffice.
    """
    height, width = brightness.shape
    parts, total = [], 0.0
    for band in _bands(height, width):
        detail = brightness[band.begin : band.end].astype(np.float32)
        detail /= full
        detail -= cv2.GaussianBlur(detail, (0, 0), FINE)
        detail = np.square(detail, out=detail)[band.inner]
        parts.append(_reduced(detail))
        total += float(detail.mean()) * len(detail)
    return np.concatenate(parts).astype(np.float32, copy=False), total / height


def _coarse(picture: Picture) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), FINE))
