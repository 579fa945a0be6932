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
from typing import Generic, TypeVar

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
SQUARE = 4
"""Side in pixels of the squares in which sharpness is averaged first."""
LEAST_WEIGHT = 0.01
"""Weight that a place of the others must have anywhere for the frame to be changed at all."""
NOISE = 2e-6
"""Mean square of fine detail that counts as none: about a third of a grey level."""
MIN_SIDE = 64
"""Pixels of a frame's smaller side below which nothing is taken."""
MEMORY, PIXEL_BYTES, LEAST = 380 << 20, 17, 3
"""Bytes that waiting frames may take; bytes of a pixel for each frame of reach; and the least reach worth having."""

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
        self.grey = brightness if full == 255 else np.asarray(cv2.convertScaleAbs(brightness, alpha=255 / full))
        """The brightness in bytes, for the flow."""
        detail = _detail(brightness, full)
        self.sharpness = float(detail.mean())
        """Mean square of the fine detail."""
        self.squares = _squares(detail)


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
        frame = _Frame(view, self.full)
        with ThreadPoolExecutor(max(1, min(len(sources), torch.get_num_threads()))) as pool:
            found = [each for each in pool.map(frame.from_source, sources) if each is not None]
        if not found:
            return None
        weight, change = found[0]
        for its_weight, its_change in found[1:]:
            weight += its_weight
            change += its_change
        if float(weight.max()) < LEAST_WEIGHT:
            return None
        weight += 1
        share = np.divide(1, np.multiply(weight, self.full, out=weight), out=weight)
        gain = torch.empty(3, *share.shape)
        for plane, part in zip(cv2.split(change), gain, strict=True):
            np.multiply(plane, share, out=part.numpy())
        return gain


class _Frame:
    """A frame that is improved: what of it each source is compared with."""

    def __init__(self, view: _View, full: int) -> None:
        self.view, self.full = view, full
        self.picture, self.coarse = view.picture, _coarse(view.picture)
        height, width = view.grey.shape
        self.sharpness = _around(view.squares, height, width)
        self.places = _places(height, width)

    def from_source(self, source: _View) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """The weight of each place of a sharper frame (H x W), and its difference times the weight (H x W x 3).

        None where the sharper frame is nowhere sharp enough.
        """
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        there = search.calc(self.view.grey, source.grey, None)
        places = self.places + there
        moved = _moved(source.picture, places, cv2.INTER_CUBIC)
        share = self._share(moved)
        if not share.any():
            return None
        loop = there + _moved(search.calc(source.grey, self.view.grey, None), places, cv2.INTER_LINEAR)
        x, y = np.moveaxis(np.square(loop, out=loop), 2, 0)
        missed = x + y  # OpenCV's magnitude differs with the place in memory
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
        weight = np.asarray(cv2.GaussianBlur(weight, (0, 0), SOFT), np.float32)
        change = cv2.subtract(moved, self.picture, dtype=cv2.CV_32F)
        return weight, np.asarray(cv2.multiply(change, cv2.merge([weight] * 3), dst=change), np.float32)

    def _share(self, moved: Picture) -> NDArray[np.float32]:
        """How far each place of a sharper frame, moved to this one, is sharper: 0 from ``FROM``, 1 at ``FULLY``."""
        brightness = cv2.cvtColor(moved, cv2.COLOR_RGB2GRAY)
        share = _around(_squares(_detail(brightness, self.full)), *brightness.shape)
        share /= self.sharpness
        np.log(share, out=share)
        share -= math.log(FROM)
        share /= math.log(FULLY / FROM)
        return np.clip(share, 0, 1, out=share)


@functools.lru_cache(1)
def _places(height: int, width: int) -> NDArray[np.float32]:
    """Where each pixel lies, H x W x 2, x first."""
    return np.ascontiguousarray(np.moveaxis(np.mgrid[:height, :width][::-1], 0, 2), np.float32)


def _moved(picture: Picture, places: NDArray[np.float32], how: int) -> Picture:
    """What a picture shows at some places (H x W x 2, x first)."""
    return np.asarray(cv2.remap(picture, places, None, how, borderMode=cv2.BORDER_REPLICATE))


def _detail(brightness: Picture, full: int) -> NDArray[np.float32]:
    """Square of the fine detail of the brightness, H x W, of full scale 1."""
    detail = brightness.astype(np.float32)
    detail /= full
    detail -= cv2.GaussianBlur(detail, (0, 0), FINE)
    return np.square(detail, out=detail)


def _squares(detail: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of the fine detail in squares of pixels: what is judged in surroundings is smooth."""
    height, width = detail.shape
    return np.asarray(cv2.resize(detail, (width // SQUARE, height // SQUARE), interpolation=cv2.INTER_AREA))


def _around(squares: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Mean square of the fine detail around each pixel, H x W, from that in squares."""
    around = np.asarray(cv2.resize(cv2.GaussianBlur(squares, (0, 0), AROUND / SQUARE), (width, height)), np.float32)
    around += np.float32(NOISE)
    return around


def _coarse(picture: Picture) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), FINE))
