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
MEMORY, PIXEL_BYTES, LEAST = 320 << 20, 14, 3
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


@dataclass
class _Seen(Generic[Item]):
    """A restored frame of the shot."""

    item: Item | None
    """None: it was handed on, and is held for those behind it alone."""
    picture: Picture | None
    """None: it came out broken; nothing is taken from it or given to it."""
    sharpness: float


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
        picture = None if restored is None or min(restored.shape[1:]) < MIN_SIDE else self._held_as(restored)
        self._held.append(_Seen(item, picture, 0.0 if picture is None else float(self._detail(picture).mean())))
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
        scaled = (restored.clamp(0, 1) * self.full).round()
        return np.ascontiguousarray(scaled.to(kind).permute(1, 2, 0).numpy())

    def _next(self) -> tuple[Item, Tensor | None]:
        """The first frame that waits, and what it gains from those around it."""
        at = len(self._held) - self._waiting
        frame = self._held[at]
        found = None
        if frame.picture is not None:
            sources = self._sources(at)
            found = self._gain(frame.picture, sources) if sources else None
        item, frame.item = frame.item, None
        self._waiting -= 1
        while len(self._held) - self._waiting > self.reach:
            self._held.popleft()
        assert item is not None
        return item, found

    def _sources(self, at: int) -> list[Picture]:
        """The frames around one that are sharper as a whole, the best first."""
        own = self._held[at].sharpness + NOISE
        ranked = []
        for place, other in enumerate(self._held):
            gain = (other.sharpness + NOISE) / own
            if other.picture is not None and abs(place - at) <= self.reach and gain > SHARPER:
                ranked.append((math.log(gain) - abs(place - at) / NEARNESS, -place, other.picture))
        ranked.sort(key=lambda each: each[:2], reverse=True)
        return [picture for _, _, picture in ranked[:SOURCES]]

    def _gain(self, picture: Picture, sources: Sequence[Picture]) -> Tensor | None:
        """What is to be added to a frame, or None where nowhere a place of the others counts."""
        frame = _Frame(self, picture)
        with ThreadPoolExecutor(max(1, min(len(sources), torch.get_num_threads()))) as pool:
            found = list(pool.map(frame.from_source, sources))
        weight, change = found[0]
        for its_weight, its_change in found[1:]:
            weight += its_weight
            change += its_change
        if float(weight.max()) < LEAST_WEIGHT:
            return None
        share = 1 / (self.full * (1 + weight))
        return torch.from_numpy(np.stack([plane * share for plane in cv2.split(change)]))

    def _detail(self, picture: Picture) -> NDArray[np.float32]:
        """Square of the fine detail of the brightness, H x W, of full scale 1."""
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / self.full
        detail: NDArray[np.float32] = (grey - cv2.GaussianBlur(grey, (0, 0), FINE)) ** 2
        return detail

    def sharpness(self, picture: Picture) -> NDArray[np.float32]:
        """Mean square of the fine detail around each pixel, H x W. Found in squares of pixels: it is smooth."""
        detail = self._detail(picture)
        height, width = detail.shape
        small = cv2.resize(detail, (width // SQUARE, height // SQUARE), interpolation=cv2.INTER_AREA)
        around = cv2.GaussianBlur(small, (0, 0), AROUND / SQUARE)
        return np.asarray(cv2.resize(around, (width, height)), np.float32) + np.float32(NOISE)

    def grey(self, picture: Picture) -> Picture:
        """The brightness in bytes, for the flow."""
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        return grey if self.full == 255 else np.asarray(cv2.convertScaleAbs(grey, alpha=255 / self.full))


class _Frame:
    """A frame that is improved: what of it each source is compared with."""

    def __init__(self, frames: LuckyFrames, picture: Picture) -> None:
        self.frames, self.picture = frames, picture
        self.grey, self.sharpness = frames.grey(picture), frames.sharpness(picture)
        self.coarse = _coarse(picture)
        height, width = picture.shape[:2]
        self.places = np.mgrid[:height, :width].astype(np.float32)[::-1]

    def from_source(self, source: Picture) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The weight of each place of a sharper frame (H x W), and its difference times the weight (H x W x 3)."""
        grey = self.frames.grey(source)
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        there = search.calc(self.grey, grey, None)
        back = self._moved(search.calc(grey, self.grey, None), there, cv2.INTER_LINEAR)
        missed = np.square(there + back).sum(2) / RETURN**2  # OpenCV's magnitude differs with the place in memory
        moved = self._moved(source, there, cv2.INTER_CUBIC)
        unlike = functools.reduce(cv2.max, cv2.split(cv2.absdiff(_coarse(moved), self.coarse)))
        unlike = cv2.GaussianBlur(unlike.astype(np.float32), (0, 0), ALIKE) / (UNLIKE * self.frames.full)
        sharper = np.log(self.frames.sharpness(moved) / self.sharpness)
        share = np.clip((sharper - math.log(FROM)) / math.log(FULLY / FROM), 0, 1)
        weight = WEIGHT * share * share * (3 - 2 * share) * np.exp(-missed - unlike * unlike)
        weight = np.asarray(cv2.GaussianBlur(weight, (0, 0), SOFT), np.float32)
        change = cv2.subtract(moved, self.picture, dtype=cv2.CV_32F)
        return weight, np.asarray(cv2.multiply(change, cv2.merge([weight] * 3)), np.float32)

    def _moved(self, picture: Picture, flow: NDArray[np.float32], how: int) -> Picture:
        """A picture as seen from this frame, whose pixels lie where the flow (H x W x 2, x first) says."""
        x, y = (place + flow[..., axis] for axis, place in enumerate(self.places))
        return np.asarray(cv2.remap(picture, x, y, how, borderMode=cv2.BORDER_REPLICATE))


def _coarse(picture: Picture) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), FINE))
