"""Cameras that no bundled network was trained for: blur, response, noise and compression of other kinds, with truth.

Nothing of :mod:`deblurcli.synth` is used. A view of a picture moves along a smooth path; a camera adds up views,
applies its response, noise, processing and compression. The truth is the view in the middle with the response and the
processing that has no chance in it, without noise and compression.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.cameras import Frames, Walk, compressed

Picture = np.ndarray
"""H x W x 3 float32 in [0, 1]."""
SIZE = (320, 256)
"""Width and height of the frames."""
ROOM = 2.0
"""Pictures that are filmed are reduced until the frames, times this, fill them."""


@dataclass(frozen=True)
class UnknownCamera:
    """How frames come about."""

    length: float
    """Mean length of the path in pixels while the shutter is open."""
    views: int
    """Views that are added up."""
    gamma: float
    """Of the light that is added up; 1: display values are."""
    noise: Callable[[Picture, np.random.Generator], Picture]
    """Picture in display values, with the camera's noise."""
    look: Callable[[Picture], Picture]
    """Response curve and processing; the truth has it as well."""
    finish: Callable[[Frames], Frames]
    """Compression, and processing that the truth does not have."""
    readout: float = 0.0
    """Time of the rolling shutter for the whole picture, in frame intervals."""
    steps: float = 0.0
    """Size of a walker's steps in the path, in shares of its own motion."""


def grain(picture: Picture, rng: np.random.Generator, colour: float, size: float, brightness: float) -> Picture:
    """Noise in colour, soft by ``size`` pixels, and in brightness; standard deviations at full scale."""
    height, width = picture.shape[:2]
    soft = cv2.GaussianBlur(rng.normal(size=(height, width, 3)).astype(np.float32), (0, 0), size)
    soft -= soft.mean(2, keepdims=True)
    soft *= colour / soft.std()
    return picture + soft + rng.normal(0, brightness, (height, width, 1)).astype(np.float32)


def curve(picture: Picture) -> Picture:
    """An S-shaped tone curve."""
    return picture + 0.9 * picture * (1 - picture) * (2 * picture - 1)


def sharpened(picture: Picture, amount: float, size: float) -> Picture:
    return np.clip(picture + amount * (picture - cv2.GaussianBlur(picture, (0, 0), size)), 0, 1)


def in_bytes(process: Callable[[Picture], Picture]) -> Callable[[Frames], Frames]:
    """A process on bytes, H x W x 3, for frames one by one."""
    return lambda frames: [tensor(process(np.ascontiguousarray(frame.permute(1, 2, 0).numpy()))) for frame in frames]


def jpeg(picture: Picture, quality: int) -> Picture:
    _, written = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(written, cv2.IMREAD_COLOR))


def smoothed_and_enlarged(picture: Picture) -> Picture:
    """What a cheap camera makes of a noisy picture: smooth patches with edges, at two thirds of the size."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (width * 2 // 3, height * 2 // 3), interpolation=cv2.INTER_AREA)
    small = cv2.bilateralFilter(small, 5, 30, 2)
    return jpeg(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), 60)


def striped(picture: Picture, rng: np.random.Generator) -> Picture:
    """Columns of the sensor that differ, and a little noise."""
    columns = rng.normal(0, 0.035, (1, picture.shape[1], 1)).astype(np.float32)
    return picture + columns + rng.normal(0, 0.012, picture.shape).astype(np.float32)


def photons(picture: Picture, rng: np.random.Generator) -> Picture:
    return picture + np.sqrt(np.maximum(picture, 0.002)) * rng.normal(0, 0.07, picture.shape).astype(np.float32)


CAMERAS = {
    # Few exposures are added up as they are displayed; coarse colour noise; strong compression.
    "burst": UnknownCamera(
        *(9.0, 4, 1.0),
        noise=lambda picture, rng: grain(picture, rng, 0.07, 1.6, 0.02),
        look=lambda picture: picture,
        finish=lambda frames: compressed(frames, 32),
    ),
    # A walker's camera that reads out slowly and sharpens, with a tone curve and blocks.
    "walker": UnknownCamera(
        *(7.0, 25, 2.2),
        noise=lambda picture, rng: grain(picture, rng, 0.02, 0.6, 0.02),
        look=lambda picture: sharpened(curve(picture), 1.2, 1.4),
        finish=in_bytes(lambda picture: jpeg(picture, 25)),
        readout=0.7,
        steps=1.0,
    ),
    # Long exposures in the dark, amplified, smoothed by the camera and enlarged.
    "webcam": UnknownCamera(
        *(12.0, 33, 2.2),
        noise=lambda picture, rng: grain(picture, rng, 0.05, 0.8, 0.07),
        look=lambda picture: 0.08 + 0.75 * picture**0.8,
        finish=in_bytes(smoothed_and_enlarged),
    ),
    # A sensor whose columns differ, linear.
    "microscope": UnknownCamera(
        *(8.0, 21, 1.0),
        noise=striped,
        look=lambda picture: 0.15 + 0.7 * picture,
        finish=lambda frames: frames,
    ),
    # The number of photons decides about noise; a median and blocks hide it.
    "night": UnknownCamera(
        *(9.0, 29, 1.8),
        noise=photons,
        look=lambda picture: picture**0.8,
        finish=in_bytes(lambda picture: jpeg(cv2.medianBlur(picture, 3), 45)),
        steps=0.5,
    ),
    # Contrast, and so strong a compression that hardly any noise is left.
    "bodycam": UnknownCamera(
        *(10.0, 17, 2.2),
        noise=lambda picture, rng: grain(picture, rng, 0.015, 0.7, 0.03),
        look=lambda picture: np.clip(1.3 * (picture - 0.5) + 0.5, 0, 1),
        finish=lambda frames: compressed(frames, 35),
    ),
    # Nothing but blur.
    "clean": UnknownCamera(
        *(8.0, 33, 2.2),
        noise=lambda picture, rng: picture + rng.normal(0, 0.003, picture.shape).astype(np.float32),
        look=lambda picture: picture,
        finish=lambda frames: frames,
    ),
}
LOOKED_AT = ("burst", "walker", "webcam", "microscope")
"""The cameras by which the training of translators was made; the others came after."""


def tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).contiguous()


def filmed(camera: UnknownCamera, photo: Tensor, frames: int, seed: int, still: bool = False) -> tuple[Frames, Frames]:
    """Frames of a photo (3 x H x W in [0, 1]) that a camera takes, in motion or still, and their truth; bytes."""
    rng = np.random.default_rng(seed)
    light, (width, height) = fitting(photo.permute(1, 2, 0).numpy()) ** camera.gamma, SIZE
    walk = Walk(rng, frames, (1.0, 0.7, 0.0015, 0.0004), 0.2)
    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    xx, yy = xx - (width - 1) / 2, yy - (height - 1) / 2
    centre, rows = np.array([light.shape[1], light.shape[0]]) / 2, camera.readout * (yy[:, :1] / height)

    def pose(times: np.ndarray) -> np.ndarray:
        found = walk.at(times)
        found[..., 1] += camera.steps * np.sin(2 * np.pi * times / 5)
        return found

    shutter = 0.8 * np.linspace(-0.5, 0.5, camera.views)
    steps = np.diff(pose(np.arange(frames)[:, None] + shutter)[..., :2], axis=1)
    scale = 0.0 if still else camera.length / np.hypot(*np.moveaxis(steps, -1, 0)).sum(1).mean()

    def view(time: float) -> Picture:
        poses = (pose(time + rows) * scale).astype(np.float32)
        x, y, turn, zoom = (poses[..., i] for i in range(4))
        u = np.exp(zoom) * (np.cos(turn) * xx - np.sin(turn) * yy) + x + centre[0]
        v = np.exp(zoom) * (np.sin(turn) * xx + np.cos(turn) * yy) + y + centre[1]
        at = (u.astype(np.float32), v.astype(np.float32))
        return cv2.remap(light, *at, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)

    def displayed(seen: Any) -> Picture:
        return np.clip(seen, 0, 1).astype(np.float32) ** (1 / camera.gamma)

    def in_8_bits(picture: Picture) -> Tensor:
        return tensor(np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8))

    taken, truth = [], []
    for frame in range(frames):
        times = frame + (shutter if not still else shutter[:1] * 0)
        noisy = camera.noise(displayed(sum(view(time) for time in times) / len(times)), rng)
        taken.append(in_8_bits(camera.look(np.clip(noisy, 0, 1).astype(np.float32))))
        truth.append(in_8_bits(camera.look(displayed(view(float(frame))))))
    return camera.finish(taken), truth


def fitting(photo: Picture) -> Picture:
    """The photo reduced as far as frames can still move in it."""
    height, width = photo.shape[:2]
    share = max(ROOM * side / n for side, n in zip(SIZE, (width, height), strict=True))
    size = (round(width * share), round(height * share))
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA) if share < 1 else photo
