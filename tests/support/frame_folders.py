"""Folders of numbered pictures that are the frames of a small video."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from deblurcli.media.images import Image, write_image
from deblurcli.media.pictures.metadata import Metadata

ICC = b"\0" * 128 + b"a profile"


def picture(number: int, size: tuple[int, int] = (64, 48), depth: int = 8, channels: int = 3) -> np.ndarray:
    """A soft texture that moves; H x W x channels, or H x W for one."""
    width, height = size
    field = np.random.default_rng(7).random((height + 40, width + 60, channels)).astype(np.float32)
    field = cv2.GaussianBlur(field, (0, 0), 1.5).reshape(*field.shape[:2], channels)
    piece = field[2 * number : 2 * number + height, 3 * number : 3 * number + width]
    piece = (piece - field.min()) / (field.max() - field.min()) * ((1 << depth) - 1)
    samples = np.ascontiguousarray(piece.round().astype(np.uint8 if depth == 8 else np.uint16))
    return samples if channels > 1 else samples[:, :, 0]


def write_frames(
    folder: Path, count: int = 5, *, first: int = 1, pattern: str = "%06d.png", depth: int = 8, channels: int = 3,
    size: tuple[int, int] = (64, 48), alpha: bool = False, metadata: Metadata | None = None,
) -> Path:  # fmt: skip
    """Write the frames of a video; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        samples = picture(number, size, depth, channels)
        opacity = np.full(samples.shape[:2], 99, samples.dtype) if alpha else None
        write_image(folder / (pattern % (first + number)), Image(samples, opacity, metadata or Metadata()))
    return folder
