"""YCbCr <-> RGB, explicit in matrix, range, depth and chroma siting (ITU-T H.273, BT.601, BT.709, BT.2020)."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

from deblurcli.media.layout import PlaneLayout
from deblurcli.options.compute import LARGE, ROWS

LUMA_WEIGHTS: dict[str, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
    "smpte240m": (0.212, 0.087),
    "fcc": (0.30, 0.11),
}
"""Luma weights of red and blue; green has the rest."""
MARGIN = 8
"""Rows beside them that matter, at most; a multiple of how many share one row of chroma."""


@cache
def matrix(name: str) -> Tensor:
    """The 3 x 3 float32 matrix from RGB in [0, 1] to Y in [0, 1] and Cb, Cr in [-0.5, 0.5]."""
    if name == "ycgco":
        return torch.tensor([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0.0, -0.5]])
    red, blue = LUMA_WEIGHTS.get(name, LUMA_WEIGHTS["bt709"])  # grey of an RGB source: any weights that sum to 1
    luma = np.array([red, 1 - red - blue, blue])
    rows = [luma, (np.eye(3)[2] - luma) / (2 * (1 - blue)), (np.eye(3)[0] - luma) / (2 * (1 - red))]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


@cache
def _chroma_to_rgb(name: str) -> Tensor:
    """The 3 x 2 matrix A of RGB = Y + A (Cb, Cr)."""
    return torch.linalg.inv(matrix(name).double())[:, 1:].float()


def _codes(layout: PlaneLayout) -> tuple[float, float, float, float]:
    """Offset and scale of luma (and RGB), then of chroma, in code values."""
    unit = float(1 << (layout.depth - 8)) if layout.depth >= 8 else 1.0
    if layout.colour.full_range:
        return 0.0, float(layout.top), 128 * unit, float(layout.top)
    return 16 * unit, 219 * unit, 128 * unit, 224 * unit


def _double_rows(plane: np.ndarray) -> np.ndarray:
    """Bilinear upsampling by 2; a sample lies between two rows of the result. Float32."""
    height, width = plane.shape
    pairs = np.empty((height, 2, width), np.float32)
    even, odd = pairs[:, 0], pairs[:, 1]
    even[0], odd[-1] = plane[0], plane[-1]
    cv2.addWeighted(plane[1:], 0.75, plane[:-1], 0.25, 0, even[1:])
    cv2.addWeighted(plane[:-1], 0.75, plane[1:], 0.25, 0, odd[:-1])
    return pairs.reshape(2 * height, width)


def _double_columns(plane: np.ndarray, centred: bool) -> np.ndarray:
    """As ``_double_rows``; samples lie between two columns of the result if ``centred``, else on the even ones."""
    height, width = plane.shape
    even, odd = (np.empty_like(plane), np.empty_like(plane)) if centred else (plane, np.empty_like(plane))
    near, far = (0.75, 0.25) if centred else (0.5, 0.5)
    odd[:, -1] = plane[:, -1]
    cv2.addWeighted(plane[:, :-1], near, plane[:, 1:], far, 0, odd[:, :-1])
    if centred:
        even[:, 0] = plane[:, 0]
        cv2.addWeighted(plane[:, 1:], near, plane[:, :-1], far, 0, even[:, 1:])
    return cv2.merge((even, odd)).reshape(height, 2 * width)


def _halve(x: Tensor, dim: int, centred: bool) -> Tensor:
    """Average pairs along ``dim``, onto the positions that doubling starts from; an odd last sample is repeated."""
    if x.shape[dim] % 2:
        x = torch.cat((x, x.narrow(dim, x.shape[dim] - 1, 1)), dim)
    pairs = x.unflatten(dim, (x.shape[dim] // 2, 2))
    even, odd = pairs.select(dim + 1, 0), pairs.select(dim + 1, 1)
    if centred:
        return (even + odd).mul_(0.5)
    size = even.shape[dim]
    out = (even + odd).mul_(0.5)  # [0 1/2 1/2], then half of the difference to the left neighbour: [1/4 1/2 1/4]
    out.narrow(dim, 1, size - 1).add_(odd.narrow(dim, 0, size - 1) - odd.narrow(dim, 1, size - 1), alpha=0.25)
    out.select(dim, 0).add_(even.select(dim, 0) - odd.select(dim, 0), alpha=0.25)
    return out


def to_rgb(planes: tuple[np.ndarray, ...], layout: PlaneLayout) -> Tensor:
    """Planes in code values to float32 RGB, 3 x H x W in [0, 1], contiguous; alpha is left out."""
    rgb = np.empty((3, *planes[0].shape), np.float32)
    return torch.from_numpy(_write_rgb(planes, layout, rgb, 1.0).clip(0, 1, out=rgb))


def to_rgb8(planes: tuple[np.ndarray, ...], layout: PlaneLayout) -> Tensor:
    """As ``to_rgb``, rounded to 8 bits: uint8, 3 x H x W, contiguous."""
    height, width = planes[0].shape
    rgb = np.empty((3, height, width), np.uint8)
    if height * width <= LARGE:
        return torch.from_numpy(_write_rgb(planes, layout, rgb, 255.0))
    for top in range(0, height, ROWS):
        # Chroma between two rows needs the one above and the one below.
        begin, end = max(0, top - MARGIN), min(height, top + ROWS + MARGIN)
        band = np.empty((3, end - begin, width), np.uint8)
        _write_rgb(_rows(planes, layout, begin, end), layout, band, 255.0)
        rgb[:, top : top + ROWS] = band[:, top - begin :][:, :ROWS]
    return torch.from_numpy(rgb)


def _rows(planes: tuple[np.ndarray, ...], layout: PlaneLayout, begin: int, end: int) -> tuple[np.ndarray, ...]:
    """Some rows of all planes, from a multiple of ``MARGIN`` on, or to the last."""
    down = layout.shift[1]
    return tuple(
        plane[begin >> down : -(-end >> down)] if layout.kind == "yuv" and number in (1, 2) else plane[begin:end]
        for number, plane in enumerate(planes)
    )


def _write_rgb(planes: tuple[np.ndarray, ...], layout: PlaneLayout, rgb: np.ndarray, peak: float) -> np.ndarray:
    """Fill ``rgb``: 0 for black, ``peak`` for white; bytes are rounded and limited.

    A plane at a time, by OpenCV on one thread: decoding and inference keep the cores busy meanwhile.
    """
    offset, scale, c_offset, c_scale = _codes(layout)
    kind = cv2.CV_8U if rgb.dtype == np.uint8 else cv2.CV_32F
    if layout.kind != "yuv":
        order = (0, 0, 0) if layout.kind == "grey" else (2, 0, 1)
        for channel, number in zip(rgb, order, strict=True):
            cv2.addWeighted(planes[number], peak / scale, planes[number], 0, -offset * peak / scale, channel, kind)
        return rgb
    height, width = planes[0].shape
    for channel, (blue, red) in zip(rgb, (_chroma_to_rgb(layout.colour.matrix) / c_scale).tolist(), strict=True):
        bias = -(blue + red) * c_offset - offset / scale
        tint = cv2.addWeighted(planes[1], blue, planes[2], red, bias, dtype=cv2.CV_32F)
        for _ in range(layout.shift[1]):
            tint = _double_rows(tint)
        for _ in range(layout.shift[0]):
            tint = _double_columns(tint, centred=layout.colour.siting == "centre")
        cv2.addWeighted(planes[0], peak / scale, tint[:height, :width], peak, 0, channel, kind)
    return rgb


def _shifted(plane: np.ndarray, change: Tensor, top: int) -> np.ndarray:
    """The plane plus the change in code values, rounded and clipped."""
    source = torch.from_numpy(plane)
    return change.round_().add_(source).clamp_(0, top).to(source.dtype).numpy()


def add_change(planes: tuple[np.ndarray, ...], layout: PlaneLayout, change: Tensor) -> tuple[np.ndarray, ...]:
    """Add an RGB difference (float, 3 x H x W, where 1 is the whole range) to planes in code values.

    The transform is linear and only its result is rounded, so a zero change returns the same samples bit for bit.
    """
    height, width = planes[0].shape
    if change.shape != (3, height, width):
        raise ValueError(f"change is {tuple(change.shape)}, frame needs {(3, height, width)}")
    if height * width <= LARGE:
        return _changed(planes, layout, change)
    found = tuple(map(np.empty_like, planes))
    for top in range(0, height, ROWS):
        end = min(top + ROWS, height)
        parts = _changed(_rows(planes, layout, top, end), layout, change[:, top:end])
        for rows, part in zip(_rows(found, layout, top, end), parts, strict=True):
            rows[...] = part
    return found


def _changed(planes: tuple[np.ndarray, ...], layout: PlaneLayout, change: Tensor) -> tuple[np.ndarray, ...]:
    """As ``add_change``, at once."""
    change = change.detach().to("cpu", torch.float32)
    _, scale, _, c_scale = _codes(layout)
    colours = 1 if layout.kind == "grey" else 3
    if layout.kind == "rgb":
        parts = [change[1] * scale, change[2] * scale, change[0] * scale]
    else:
        to_yuv = matrix(layout.colour.matrix)
        parts = [(to_yuv[0] * scale) @ change.flatten(1)]
        if colours == 3:
            for _ in range(layout.shift[1]):
                change = _halve(change, 1, centred=True)
            for _ in range(layout.shift[0]):
                change = _halve(change, 2, centred=layout.colour.siting == "centre")
            parts += (to_yuv[1:] * c_scale) @ change.flatten(1)
    changed = (_shifted(plane, part.view(plane.shape), layout.top) for plane, part in zip(planes, parts, strict=False))
    return (*changed, *planes[colours:])
