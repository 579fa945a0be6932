"""Pictures made to be looked at, uint8 H x W x 3 in RGB: resized, lettered, framed, and encoded small."""

from __future__ import annotations

import unicodedata
from functools import cache

import cv2
import numpy as np

FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_HEIGHT = 22
"""Pixels of a capital of the font at scale 1."""
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
PLATE = 0.35
"""What is left of the picture's light behind a label, so that white letters can be read on anything."""
LETTERS_SHARE, MIN_LETTERS, MAX_LETTERS = 0.035, 9, 40
"""Height of a label's capitals as a share of the picture's, and its bounds in pixels."""


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """The picture at another size: means of areas where it shrinks, bicubic where it grows."""
    if picture.shape[1::-1] == (width, height):
        return picture
    shrinks = width <= picture.shape[1] and height <= picture.shape[0]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def within(width: int, height: int, most: int) -> tuple[int, int]:
    """A size of the same shape, at most so wide."""
    return (width, height) if width <= most else (most, max(1, round(height * most / width)))


def lettered(picture: np.ndarray, text: str, *, right: bool = False) -> None:
    """Write a label into an upper corner, white on a darkened plate that is as large as the text needs.

    The font has the letters of English alone: accents are taken off, other signs become question marks.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode() or "?" * len(text)
    height, width = picture.shape[:2]
    tall = min(max(LETTERS_SHARE * height, MIN_LETTERS), MAX_LETTERS)
    wide, scale, thick = _measured(plain, tall)
    room = width - 2 * round(tall)
    if wide > room > 0:  # a narrow picture: smaller letters rather than cut ones
        wide, scale, thick = _measured(plain, tall * room / wide)
    pad = max(3, round(0.55 * tall))
    tall = round(FONT_HEIGHT * scale)
    left = width - wide - 2 * pad if right else 0
    left, bottom = max(left, 0), tall + 2 * pad
    plate = picture[:bottom, left : left + wide + 2 * pad]
    plate[:] = (plate * PLATE).astype(np.uint8)
    cv2.putText(picture, plain, (left + pad, pad + tall), FONT, scale, WHITE, thick, cv2.LINE_AA)


@cache
def _measured(text: str, tall: float) -> tuple[int, float, int]:
    """Width of a text in pixels, its scale and the thickness of its lines, for capitals of a height."""
    scale = tall / FONT_HEIGHT
    thick = max(1, round(2 * scale))
    return cv2.getTextSize(text, FONT, scale, thick)[0][0], scale, thick


def framed(picture: np.ndarray, left: int, top: int, right: int, bottom: int, thick: int = 1) -> None:
    """Draw a rectangle, white in black, so that it can be seen on anything."""
    for colour, width in ((BLACK, 3 * thick), (WHITE, thick)):
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), colour, width)


def jpeg(picture: np.ndarray, quality: int) -> bytes:
    """A JPEG file with colours at full resolution, quality 1 to 100."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return bytes(cv2.imencode(".jpg", np.ascontiguousarray(picture[:, :, ::-1]), settings)[1])
