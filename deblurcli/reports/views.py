"""Two versions of a frame in one picture: side by side, parted by a divider, their difference, enlarged crops.

Pictures are uint8, H x W x 3, upright. Every view has even sides, as encoders want them, and labels that are burnt in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deblurcli.media.canvas import WHITE, framed, lettered, resized, within

MAX_WIDTH = 3840
"""Pixels of a view: what screens and decoders take."""
MIN_CROPPED_WIDTH = 960
"""Pixels of a view of crops alone, at least: small crops are enlarged to fill it."""
GAP = 4
"""Pixels between two pictures."""
SURROUND = 24
"""Grey value of what lies between pictures."""
WIPE_SECONDS = 6.0
"""Seconds in which the divider goes to the right and comes back."""
WIPE_MARGIN = 0.06
"""Share of the width at either side that the divider does not enter."""
GAIN = 4
"""How many times a difference is enlarged to be seen."""
MIN_CROP, MAX_CROP = 48, 320
"""Bounds of a crop's side in pixels, where the side is not given."""

Corner = tuple[int, int]
"""Top and left of a crop in pixels."""


@dataclass(frozen=True)
class Crops:
    """Squares of a video that are looked at closely, the same in every frame."""

    places: Sequence[Corner]
    side: int

    def cut(self, picture: np.ndarray) -> list[np.ndarray]:
        """The pieces of one frame, in the order of the places."""
        return [picture[y : y + self.side, x : x + self.side] for y, x in self.places]


@dataclass(frozen=True)
class Pair:
    """The two versions of a frame, and its time."""

    before: np.ndarray
    after: np.ndarray
    seconds: float = 0.0


def usual_side(height: int, width: int) -> int:
    """The side of a crop of pictures of a size."""
    shorter = min(height, width)
    return min(max(shorter // 5, MIN_CROP), MAX_CROP, shorter) // 2 * 2


def side(pair: Pair, names: tuple[str, str], crops: Crops) -> np.ndarray:
    """Both versions beside each other with the crops marked, and below them the crops, enlarged."""
    height, width = pair.before.shape[:2]
    wide, tall = within(width, height, (MAX_WIDTH - GAP) // 2)
    scale = wide / width
    shown = []
    for picture, name in ((pair.before, names[0]), (pair.after, names[1])):
        small = resized(picture, wide, tall).copy()
        for number, (y, x) in enumerate(crops.places, 1):
            _mark(small, number, round(x * scale), round(y * scale), round(crops.side * scale))
        lettered(small, name)
        shown.append(small)
    whole = _row(shown)
    if crops.places:
        whole = _column([whole, _cropped(pair, crops, whole.shape[1])])
    return _even(whole)


def wipe(pair: Pair, names: tuple[str, str], crops: Crops) -> np.ndarray:
    """The first version left of a divider, the second right of it; it starts in the middle and moves with time."""
    height, width = pair.before.shape[:2]
    size = within(width, height, MAX_WIDTH)
    before, after = resized(pair.before, *size).copy(), resized(pair.after, *size).copy()
    lettered(before, names[0])
    lettered(after, names[1], right=True)
    swing = 0.5 + (0.5 - WIPE_MARGIN) * math.sin(2 * math.pi * pair.seconds / WIPE_SECONDS)
    at = round(swing * size[0])
    after[:, :at] = before[:, :at]
    half = max(1, size[0] // 640)
    after[:, max(at - half, 0) : at + half] = WHITE
    return _even(after)


def difference(pair: Pair, names: tuple[str, str], crops: Crops) -> np.ndarray:
    """The second version less the first, enlarged, around a middle grey."""
    height, width = pair.before.shape[:2]
    apart = pair.after.astype(np.int16) - pair.before
    shown = (128 + GAIN * apart).clip(0, 255).astype(np.uint8)
    shown = resized(shown, *within(width, height, MAX_WIDTH)).copy()
    lettered(shown, f"{names[1]} - {names[0]}, x{GAIN}")
    return _even(shown)


def closely(pair: Pair, names: tuple[str, str], crops: Crops) -> np.ndarray:
    """The crops alone: the first version above, the second below."""
    rows = []
    for picture, name in ((pair.before, names[0]), (pair.after, names[1])):
        pieces = crops.cut(picture)
        wide = max(crops.side * 2, math.ceil(MIN_CROPPED_WIDTH / len(pieces)))
        wide = min(wide, MAX_WIDTH // len(pieces) - GAP)
        row = _row([resized(piece, wide, wide) for piece in pieces]).copy()
        lettered(row, name)
        rows.append(row)
    return _even(_column(rows))


DRAWN: dict[str, Callable[[Pair, tuple[str, str], Crops], np.ndarray]] = {
    "side": side,
    "wipe": wipe,
    "difference": difference,
    "crops": closely,
}
"""The views by their names as options."""


def _mark(picture: np.ndarray, number: int, x: int, y: int, side: int) -> None:
    """Frame a crop, and number it in its corner."""
    framed(picture, x, y, x + side, y + side)
    lettered(picture[y + 2 : y + side - 2, x + 2 : x + side - 2], str(number))


def _cropped(pair: Pair, crops: Crops, width: int) -> np.ndarray:
    """A row as wide as given: every crop in both versions, numbered."""
    count = len(crops.places)
    wide = (width - GAP * (2 * count - 1)) // (2 * count)
    pieces = []
    for number, both in enumerate(zip(crops.cut(pair.before), crops.cut(pair.after), strict=True), 1):
        enlarged = [resized(piece, wide, wide).copy() for piece in both]
        lettered(enlarged[0], str(number))
        pieces += enlarged
    return _row(pieces, width)


def _row(pictures: Sequence[np.ndarray], width: int = 0) -> np.ndarray:
    """Pictures of one height beside each other; the row is filled up to a width."""
    total = sum(picture.shape[1] for picture in pictures) + GAP * (len(pictures) - 1)
    whole = np.full((pictures[0].shape[0], max(total, width), 3), SURROUND, np.uint8)
    left = 0
    for picture in pictures:
        whole[:, left : left + picture.shape[1]] = picture
        left += picture.shape[1] + GAP
    return whole


def _column(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of one width below each other."""
    return np.ascontiguousarray(_row([row.transpose(1, 0, 2) for row in rows]).transpose(1, 0, 2))


def _even(picture: np.ndarray) -> np.ndarray:
    """The picture with its last row and column doubled where their number is odd."""
    odd = [(0, length % 2) for length in picture.shape[:2]]
    return np.pad(picture, (*odd, (0, 0)), mode="edge") if any(more for _, more in odd) else picture
