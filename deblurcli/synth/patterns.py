"""Pictures of text, lines and shapes: edges and strokes that photos show too rarely."""

from __future__ import annotations

import string

import cv2
import numpy as np
import torch
from torch import Tensor

FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)
LETTERS = np.array(list(string.ascii_letters + string.digits + "  .,:;-+/&%()"))


def _ground(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth two-dimensional gradient between random colours."""
    coarse = rng.uniform(0, 255, (2, 2, 3)).astype(np.float32)
    if rng.random() < 0.5:  # paper, walls and signs are mostly of one colour
        coarse = 0.85 * coarse.mean((0, 1)) + 0.15 * coarse
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def pattern(height: int, width: int, rng: np.random.Generator) -> Tensor:
    """One random picture of text, lines and filled shapes: 3 x height x width uint8."""
    canvas = _ground(height, width, rng)

    def place() -> tuple[int, int]:
        return int(rng.integers(width)), int(rng.integers(height))

    def colour() -> list[float]:
        return rng.uniform(0, 255, 3).tolist()

    for _ in range(rng.integers(4, 20)):
        x, y = place()
        w, h = (int(v) for v in rng.integers(8, 160, 2))
        if rng.random() < 0.5:
            cv2.rectangle(canvas, (x, y), (x + w, y + h), colour(), -1, cv2.LINE_AA)
        else:
            cv2.ellipse(canvas, (x, y), (w, h), float(rng.uniform(0, 180)), 0, 360, colour(), -1, cv2.LINE_AA)
    for _ in range(rng.integers(5, 40)):
        cv2.line(canvas, place(), place(), colour(), int(rng.integers(1, 6)), cv2.LINE_AA)
    for _ in range(rng.integers(15, 60)):
        text = "".join(rng.choice(LETTERS, rng.integers(2, 24)))
        scale = float(np.exp(rng.uniform(np.log(0.35), np.log(2.5))))
        font = FONTS[rng.integers(len(FONTS))]
        cv2.putText(canvas, text, place(), font, scale, colour(), max(1, round(scale * 1.6)), cv2.LINE_AA)
    return torch.from_numpy(canvas).permute(2, 0, 1).contiguous()


def patterns(count: int, seed: int, height: int = 720, width: int = 960) -> list[Tensor]:
    """``count`` random pictures, a function of the seed."""
    return [pattern(height, width, np.random.default_rng([seed, index])) for index in range(count)]
