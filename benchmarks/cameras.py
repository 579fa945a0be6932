"""Clips with exact truth in families that differ in one thing each, by arithmetic of their own.

Nothing of :mod:`deblurcli.synth` is used but its clips, where a family says so: what makes the training data must not
also make the test. A picture, or several layers of one, moves along smooth random paths; views are averaged in linear
light while the shutter is open; the sharp frame is the view in the middle.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from torch import Tensor

from deblurcli.synth.pairs import MARGIN, shaken

MAX_VIEWS = 65
"""Views that are averaged for a frame, at most; else one for each pixel of its path."""


@dataclass(frozen=True)
class Clip:
    """One clip of a family; what is not said is a hand-held camera in ordinary light."""

    family: str
    kind: str
    """What differs within the family."""
    maker: str = "camera"
    """``camera``: this module. ``synth``: `deblur synth`. ``shake``: a program of the user's."""
    motion: str = "shake"
    """shake (shift, turn and zoom), shift, turn, zoom, walking, pan, things (over still ground), depth."""
    length: float = 12.0
    """Median length of the blur's path in pixels, half-way between the middle and the corner of the picture."""
    still: float = 0.4
    """Share of slow moments: how far the speed swings."""
    opening: float = 0.8
    """Exposure in frame intervals."""
    gamma: float = 2.2
    tone: float = 0.0
    """Strength of an S-shaped tone curve behind the exponent."""
    noise: float = 0.004
    """Standard deviation at full scale."""
    crf: int | None = None
    """Compression as H.264; lossless where None."""
    lights: bool = False
    """A dim scene with lights far brighter than white."""
    readout: float = 0.0
    """Time that a rolling shutter takes for the whole picture, in frame intervals."""
    size: tuple[int, int] = (448, 256)
    """Width and height."""


TUNED = (
    Clip("motion", "shift", motion="shift"),
    Clip("motion", "turn", motion="turn"),
    Clip("motion", "zoom", motion="zoom"),
    Clip("motion", "walking", motion="walking"),
    Clip("motion", "pan", motion="pan", still=0.0),
    Clip("motion", "things", motion="things"),
    Clip("motion", "depth", motion="depth"),
    Clip("still share", "none", still=0.0),
    Clip("still share", "a third", still=0.3),
    Clip("still share", "half", still=0.8),
    Clip("noise", "0.012", noise=0.012),
    Clip("noise", "0.030", noise=0.030),
    Clip("size", "256x256", size=(256, 256)),
    Clip("size", "640x352", size=(640, 352)),
    Clip("tuned synth", "10 px", maker="synth", length=10.0),
    Clip("tuned synth", "26 px, gamma 3", maker="synth", length=26.0, gamma=3.0, noise=0.02),
    Clip("tuned shake", "speed 20", maker="shake", length=20.0),
)
"""Clips to tune by: motion, still moments, noise, size, and some of other makers."""

JUDGED = (
    Clip("length", "4", length=4.0),
    Clip("length", "8", length=8.0),
    Clip("length", "16", length=16.0),
    Clip("length", "32", length=32.0),
    Clip("length", "mixed", length=14.0, still=1.5),
    Clip("response", "as displayed", gamma=1.0),
    Clip("response", "gamma 3.2", gamma=3.2),
    Clip("response", "tone curve", tone=0.8),
    Clip("compression", "crf 28", crf=28),
    Clip("compression", "crf 36", crf=36),
    Clip("lights", "night", lights=True),
    Clip("lights", "night, longer", lights=True, length=20.0, noise=0.012),
    Clip("rolling shutter", "half a frame", readout=0.5),
    Clip("rolling shutter", "whole frame", readout=0.95),
    Clip("frame rate", "open a quarter", opening=0.25),
    Clip("frame rate", "open longer than a frame", opening=1.4),
    Clip("judged synth", "16 px", maker="synth", length=16.0),
    Clip("judged synth", "40 px, gamma 1", maker="synth", length=40.0, gamma=1.0, noise=0.02),
    Clip("judged synth", "22 px, gamma 3.2", maker="synth", length=22.0, gamma=3.2, noise=0.03),
    Clip("judged shake", "speed 12", maker="shake", length=12.0),
    Clip("judged shake", "speed 30", maker="shake", length=30.0),
)
"""Clips that are looked at once for each version."""

HALVES = {"tuned": TUNED, "judged": JUDGED}

Frames = list[Tensor]
"""3 x H x W uint8 each."""

Draw = Callable[[np.ndarray, float], None]
"""Draws a thing into a view, at a time."""


def make(clip: Clip, photo: Tensor, other: Tensor, frames: int, seed: int, shake: Path | None) -> tuple[Frames, Frames]:
    """Blurred and sharp frames.

    Args:
        photo: what is seen, 3 x H x W in [0, 1]. ``other``: what moving things are cut from.
        shake: the program that makes the clips of maker ``shake``.
    """
    if clip.maker == "synth":
        blurred, sharp = synthesised(clip, photo, frames, seed)
    elif clip.maker == "shake":
        assert shake is not None
        blurred, sharp = by_program(clip, photo, frames, seed, shake)
    else:
        blurred, sharp = taken(clip, photo.permute(1, 2, 0).numpy(), other.permute(1, 2, 0).numpy(), frames, seed)
    return (blurred if clip.crf is None else compressed(blurred, clip.crf)), sharp


def synthesised(clip: Clip, photo: Tensor, frames: int, seed: int) -> tuple[Frames, Frames]:
    width, height = (side + 2 * MARGIN for side in clip.size)
    top, left = (photo.shape[1] - height) // 2, (photo.shape[2] - width) // 2
    piece = photo[:, top : top + height, left : left + width]
    pairs = islice(shaken(piece, frames, 25, clip.length, seed, clip.gamma, clip.noise), frames)
    blurred, sharp = zip(*(((b * 255).round().byte(), (s * 255).round().byte()) for b, s in pairs), strict=True)
    return list(blurred), list(sharp)


def by_program(clip: Clip, photo: Tensor, frames: int, seed: int, shake: Path) -> tuple[Frames, Frames]:
    with tempfile.TemporaryDirectory() as folder:
        picture = str(Path(folder) / "photo.png")
        cv2.imwrite(picture, (photo.permute(1, 2, 0).numpy()[..., ::-1] * 255).round().astype(np.uint8))
        width, height = clip.size
        words = {"seed": seed, "speed": clip.length, "noise": clip.noise, "frames": frames, "size": f"{width}x{height}"}
        command = [sys.executable, str(shake), picture, f"{folder}/clip"]
        subprocess.run(command + [w for k, v in words.items() for w in (f"--{k}", str(v))], check=True)
        return tuple(read(f"{folder}/clip-{which}.mkv") for which in ("blurred", "sharp"))  # type: ignore[return-value]


def read(source: str | io.BytesIO) -> Frames:
    with av.open(source) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [torch.from_numpy(frame).permute(2, 0, 1).contiguous() for frame in frames]


def compressed(frames: Frames, crf: int) -> Frames:
    """What H.264 leaves of some frames."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("libx264", rate=30, options={"crf": str(crf)})
        stream.height, stream.width = frames[0].shape[1:]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = np.ascontiguousarray(frame.permute(1, 2, 0).numpy())
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        output.mux(stream.encode(None))
    file.seek(0)
    return read(file)


class Walk:
    """A smooth random path in several directions at once, with slow moments. Times are in frames."""

    def __init__(self, rng: np.random.Generator, frames: int, weights: Sequence[float], still: float) -> None:
        fine = np.arange(-2, frames + 2, 1 / 64)
        hertz = np.array([0.7, 1.6, 3.1, 6.0])[:, None]
        phase = rng.uniform(0, 2 * np.pi, (len(weights), 4, 1))
        reach = rng.normal(size=(len(weights), 4, 1)) / hertz**0.8
        velocity = (reach * hertz * np.cos(2 * np.pi * hertz * fine / 30 + phase)).sum(1)
        velocity /= np.sqrt((velocity**2).mean(1, keepdims=True))
        swing = np.abs(np.sin(np.pi * fine / (frames / 2.7) + rng.uniform(0, 3)))
        velocity = velocity * np.array(weights)[:, None] * (0.05 + swing ** (4 * still))
        self.fine, self.path = fine, np.cumsum(velocity, 1) / 64
        self.path -= self.path.mean(1, keepdims=True)

    def at(self, times: np.ndarray) -> np.ndarray:
        """Shape times.shape + (directions,)."""
        return np.stack([np.interp(times, self.fine, track) for track in self.path], -1)


MIXES = {
    "shake": (1.0, 0.7, 0.0017, 0.0004),
    "shift": (1.0, 0.7, 0.0, 0.0),
    "turn": (0.05, 0.05, 0.02, 0.0),
    "zoom": (0.05, 0.05, 0.0, 0.02),
    "walking": (0.35, 0.3, 0.001, 0.001),
    "pan": (0.05, 0.05, 0.0002, 0.0),
    "things": (0.08, 0.06, 0.0, 0.0),
    "depth": (1.0, 0.5, 0.0, 0.0),
}
"""Motion -> weights of x, y, turn (radians) and zoom (logarithm), in pixels a frame."""


def taken(clip: Clip, photo: np.ndarray, other: np.ndarray, frames: int, seed: int) -> tuple[Frames, Frames]:
    """A clip by this module's camera. Photos are H x W x 3 in [0, 1]."""
    rng = np.random.default_rng(seed)
    width, height = clip.size
    light = photo.astype(np.float32) ** 2.2
    if clip.lights:
        light = lit(light * 0.25, rng)
    walk = Walk(rng, frames, MIXES[clip.motion], clip.still)

    def pose(times: np.ndarray) -> np.ndarray:
        found = walk.at(times)
        if clip.motion == "walking":  # steps: up and down twice as often as from side to side
            found[..., 1] += np.sin(2 * np.pi * times / 13)
            found[..., 0] += 0.5 * np.sin(2 * np.pi * times / 26) + 0.6 * times
        if clip.motion == "pan":
            found[..., 0] += times * np.where(seed % 2, 1, -1)
        return found

    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    xx, yy = xx - (width - 1) / 2, yy - (height - 1) / 2
    nearness = (0.3 + 1.4 * (yy / height + 0.5)) if clip.motion == "depth" else np.ones_like(yy)
    rows = clip.readout * yy[:, :1] / height

    def length(scale: float) -> float:
        """Median over frames of the path at a point half-way to the corner."""
        times = np.arange(frames)[:, None] + clip.opening * np.linspace(-0.5, 0.5, 17)
        x, y, turn, zoom = np.moveaxis(pose(times) * scale, -1, 0)
        px, py = width / 4, height / 4
        return median_length(np.stack([x + px * zoom - py * turn, y + py * zoom + px * turn], -1))

    things = moving_things(clip, other, frames, rng) if clip.motion == "things" else []
    scale = 1.0 if things else clip.length / length(1.0)
    centre = np.array([photo.shape[1] / 2, photo.shape[0] / 2], np.float32)

    def view(time: float) -> np.ndarray:
        poses = (pose(time + rows) * scale).astype(np.float32)  # height x 1 x 4
        x, y, turn, zoom = (poses[..., i] for i in range(4))
        grow = np.exp(zoom)
        u = grow * (np.cos(turn) * xx - np.sin(turn) * yy) + x * nearness + centre[0]
        v = grow * (np.sin(turn) * xx + np.cos(turn) * yy) + y * nearness + centre[1]
        shape = (height, width)
        at_x, at_y = (np.ascontiguousarray(np.broadcast_to(m, shape).astype(np.float32)) for m in (u, v))
        seen: np.ndarray = cv2.remap(light, at_x, at_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        for thing in things:
            thing(seen, time)
        return seen

    def shown(seen: np.ndarray, noise: float) -> Tensor:
        value = np.clip(seen, 0, 1) ** (1 / clip.gamma)
        if clip.tone:
            value = value + clip.tone * 0.5 * value * (1 - value) * (2 * value - 1)
        if noise:
            value = value + rng.normal(0, noise, value.shape) * (0.5 + 0.5 * np.sqrt(np.clip(value, 0, 1)))
        return torch.from_numpy(np.round(np.clip(value, 0, 1) * 255).astype(np.uint8)).permute(2, 0, 1).contiguous()

    longest = clip.length * 2.5
    views = int(np.clip(longest, 9, MAX_VIEWS)) | 1
    blurred, sharp = [], []
    for frame in range(frames):
        times = frame + clip.opening * np.linspace(-0.5, 0.5, views)
        total = sum(view(float(time)) for time in times)
        blurred.append(shown(np.asarray(total) / views, clip.noise))
        sharp.append(shown(view(float(frame)), 0.0))
    return blurred, sharp


def median_length(paths: np.ndarray) -> float:
    """Median length of some paths, exposures x times x 2."""
    steps: np.ndarray = np.hypot(*np.moveaxis(np.diff(paths, axis=1), -1, 0))
    return float(np.median(steps.sum(1)))


def lit(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lights on a dim scene (H x W x 3 linear), up to thirty times as bright as white."""
    found = light.copy()
    for _ in range(light.shape[0] * light.shape[1] // 12000):
        x, y = int(rng.integers(light.shape[1])), int(rng.integers(light.shape[0]))
        colour = rng.uniform(0.4, 1, 3) * np.exp(rng.uniform(0, np.log(30)))
        cv2.circle(found, (x, y), int(rng.integers(1, 4)), colour.tolist(), -1, cv2.LINE_AA)
    return found


def moving_things(clip: Clip, other: np.ndarray, frames: int, rng: np.random.Generator) -> list[Draw]:
    """Pieces of another photo that move over the picture, each its own way: functions that draw them at a time."""
    width, height = clip.size
    light = other.astype(np.float32) ** 2.2

    def thing() -> Draw:
        side = int(rng.integers(height // 3, height // 2))
        y, x = (int(rng.integers(n - side)) for n in light.shape[:2])
        piece, mask = light[y : y + side, x : x + side], np.zeros((side, side), np.float32)
        cv2.ellipse(mask, (side // 2, side // 2), (side * 4 // 9, side // 3), rng.uniform(0, 180), 0, 360, 1.0, -1)
        mask = cv2.GaussianBlur(mask, (0, 0), 1.0)
        walk = Walk(rng, frames, (1.0, 0.5), clip.still)
        times = np.arange(frames)[:, None] + clip.opening * np.linspace(-0.5, 0.5, 17)
        scale = clip.length / median_length(walk.at(times))
        home = (rng.uniform(0.2, 0.8) * width - side / 2, rng.uniform(0.2, 0.8) * height - side / 2)
        layer = np.dstack([piece * mask[..., None], mask])

        def draw(seen: np.ndarray, time: float) -> None:
            dx, dy = walk.at(np.array(time)) * scale
            matrix = np.array([[1, 0, home[0] + dx], [0, 1, home[1] + dy]], np.float32)
            front = cv2.warpAffine(layer, matrix, (width, height), flags=cv2.INTER_LINEAR)
            seen *= 1 - front[..., 3:]
            seen += front[..., :3]

        return draw

    return [thing() for _ in range(4)]


def clips(
    half: str, photos: Sequence[Tensor], frames: int, shake: Path | None, wanted: Callable[[int, Clip], bool]
) -> Iterator[tuple[Clip, Frames, Frames]]:
    """The clips of a half that are ``wanted``, by their number in it; each is made when its turn comes."""
    for index, clip in enumerate(HALVES[half]):
        if (clip.maker == "shake" and shake is None) or not wanted(index, clip):
            continue
        photo, other = photos[index % len(photos)], photos[(index + 1) % len(photos)]
        small = max(
            (side + 2 * MARGIN) / n for side, n in zip(clip.size, (photo.shape[2], photo.shape[1]), strict=True)
        )
        if small > 1:
            width, height = (int(side / small) // 32 * 32 for side in clip.size)
            clip = replace(clip, size=(width, height))
        yield clip, *make(clip, photo, other, frames, 1000 + index, shake)
