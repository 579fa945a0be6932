"""Where and when two versions of a video differ: a map over the frames, and the places of its largest values."""

from __future__ import annotations

import numpy as np

CELL = 16
"""Side in pixels of the squares that the map is made of."""
GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Luma of ITU-R BT.601: colour noise alone is no change to look at."""


class ChangeMap:
    """Mean squared differences of the luma in squares of ``CELL`` pixels, summed over the frames that were added."""

    def __init__(self) -> None:
        self.sums: np.ndarray | None = None
        self.height = self.width = 0

    def add(self, before: np.ndarray, after: np.ndarray) -> float:
        """Take in a frame of both (uint8, H x W x 3); its own difference, root mean square in 8-bit code values."""
        self.height, self.width = before.shape[:2]
        apart = (after.astype(np.float32) - before) @ GREY
        squares = np.square(apart, out=apart)
        rows, columns = range(0, self.height, CELL), range(0, self.width, CELL)
        cells = np.add.reduceat(np.add.reduceat(squares, rows, axis=0), columns, axis=1).astype(np.float64)
        self.sums = cells if self.sums is None else self.sums + cells
        return float(np.sqrt(squares.mean()))

    def places(self, count: int, side: int) -> list[tuple[int, int]]:
        """Top left corners (y, x) of squares without a common pixel, where the change was largest, the largest first.

        There are fewer where the picture has no room for ``count`` squares of ``side`` pixels, or no more changes.
        """
        if self.sums is None or side > min(self.height, self.width):
            return []
        left = _windows(self.sums, max(1, round(side / CELL)))
        found: list[tuple[int, int]] = []
        while len(found) < count and left.max() > 0:
            row, column = np.unravel_index(int(left.argmax()), left.shape)
            found.append((min(int(row) * CELL, self.height - side), min(int(column) * CELL, self.width - side)))
            tops, lefts = (
                np.minimum(np.arange(length) * CELL, edge - side)
                for length, edge in zip(left.shape, (self.height, self.width), strict=True)
            )
            y, x = found[-1]
            left[np.ix_(abs(tops - y) < side, abs(lefts - x) < side)] = 0
        return found


def _windows(cells: np.ndarray, span: int) -> np.ndarray:
    """The sum of every square of ``span`` x ``span`` cells, by its top left one."""
    rows, columns = (min(span, length) for length in cells.shape)
    sums = np.pad(cells.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
