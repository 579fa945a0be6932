"""The transforms of minimal filtering: what makes a 3x3 convolution of tiles a product value by value.

After Winograd's F(m x m, 3 x 3) (Lavin and Gray, Fast algorithms for convolutional neural networks, CVPR 2016). The
picture is cut into tiles of (m + 2) x (m + 2) pixels, m apart. Tiles and kernels are transformed, multiplied value by
value, and transformed back into m x m pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

POINTS = [Fraction(*p) for p in ((0, 1), (1, 1), (-1, 1), (2, 1), (-2, 1), (1, 2), (-1, 2))]
"""Where the polynomials are evaluated; the last point is at infinity."""


@dataclass(frozen=True)
class Transforms:
    """The matrices of F(m x m, 3 x 3), float32, with a = m + 2."""

    m: int
    tile: Tensor
    """a x a, applied to a tile's columns and rows."""
    kernel: Tensor
    """a^2 x 9: both directions at once, the horizontal one first."""
    result: Tensor
    """m^2 x a^2, likewise."""
    spread: Tensor
    """a x m: the transpose of the result's matrix of one direction."""

    @property
    def values(self) -> int:
        """Values of a transformed tile."""
        return len(self.tile) ** 2


@lru_cache
def transforms(m: int) -> Transforms:
    """Toom and Cook's construction, in exact fractions. m up to 6."""
    points = POINTS[: m + 1]
    tile, kernel = [], []
    for n, point in enumerate(points):
        others = points[:n] + points[n + 1 :]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        tile.append([*_expanded(others), Fraction(0)])
        kernel.append([point**power / scale for power in range(3)])
    tile.append(_expanded(points))
    kernel.append([Fraction(0), Fraction(0), Fraction(1)])
    result = [[*(point**power for point in points), Fraction(power == m - 1)] for power in range(m)]
    one, two, three = (torch.tensor([[float(x) for x in row] for row in rows]) for rows in (tile, kernel, result))
    # Kernels are stored row by row: their vertical direction comes first.
    both = torch.einsum("hj,vi->hvij", two.double(), two.double()).reshape(-1, 9).float()
    return Transforms(m, one, both, torch.kron(three, three), three.T.contiguous())


def _expanded(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (x - root), from the constant one on."""
    found = [Fraction(1)]
    for root in roots:
        found = [low - root * high for low, high in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found


def grid(height: int, width: int, m: int) -> tuple[int, int]:
    """Tiles down and across a picture."""
    return -(-height // m), -(-width // m)
