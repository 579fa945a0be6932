"""What training learns from: pairs of blurred and sharp pictures, drawn from the material in memory.

Every draw is a function of the seed and a counter, never of the clock or of an earlier draw: a run that stops and
resumes sees the same crops as one that does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.adaptation.support import with_centre
from deblurcli.synth.flow_pairs import RANGES as FLOW_RANGES
from deblurcli.synth.flow_pairs import draw_blur, render_pairs
from deblurcli.synth.motion import all_flows, motion_clips
from deblurcli.synth.paths import BlurRange
from deblurcli.synth.scenes import Scenes, render_clip
from deblurcli.train.detail import detail
from deblurcli.train.material import Material

MARGIN = 48
"""Pixels around a crop that the camera may wander into before the picture is mirrored."""

CLIP_MARGIN = 80
"""``MARGIN`` where the camera moves on over several frames."""

REAL_MOTION_SHARE = 0.2
"""Share of the batches whose blur comes from the motion between video frames, if there are any."""

DETAIL_RANGE = (12.0, 45.0)
"""Detail of pieces of photos to learn from. Below, they are flat or out of focus; above, they are grass and leaves,
which no network restores and which would fill the batches."""

Source = Callable[[int, np.random.Generator], tuple[Tensor, Tensor]]
"""(count, rng) -> a batch of blurred and sharp pictures or clips."""


class Recorded(Protocol):
    """Pairs that exist, where otherwise blur is made from sharp material."""

    def drawn(self, frames: int, size: int, device: torch.device) -> Source:
        """As :func:`clips`, without anything made."""

    def sharp_windows(self, frames: int, size: int, device: torch.device) -> Source:
        """As :func:`reblur_clips`."""

    def expect(self, count: int, rng: np.random.Generator) -> None:
        """A draw with this generator comes next: it can be begun."""


def _resized(picture: Tensor, height: int, width: int) -> Tensor:
    return (
        F.interpolate(picture[None].float(), (height, width), mode="bicubic", antialias=True, align_corners=False)[0]
        .div_(255)
        .clamp_(0, 1)
    )


def draw_background(photos: list[Tensor], side: int, rng: np.random.Generator, tries: int = 4) -> Tensor:
    """A 3 x side x side piece of a random photo, reduced and turned at random; detailed if possible."""
    for _ in range(tries):
        photo = photos[rng.integers(len(photos))]
        _, h, w = photo.shape
        reach = min(min(h, w), int(side / rng.uniform(0.4, 1.0)))
        y, x = rng.integers(h - reach + 1), rng.integers(w - reach + 1)
        piece = photo[:, y : y + reach, x : x + reach]
        if DETAIL_RANGE[0] <= detail(piece) <= DETAIL_RANGE[1]:
            break
    return turned(_resized(piece, side, side), int(rng.integers(8)))


def turned(picture: Tensor, symmetry: int) -> Tensor:
    """One of the 8 symmetries of the square (0..7) applied to the last two dimensions."""
    if symmetry & 4:
        picture = picture.transpose(-1, -2)
    dims = [d for d, bit in ((-1, 1), (-2, 2)) if symmetry & bit]
    return picture.flip(dims) if dims else picture


def turned_flow(flow: Tensor, symmetry: int) -> Tensor:
    """The flow (... x 2 x H x W, x first) between pictures that are turned as :func:`turned` turns them."""
    x, y = turned(flow, symmetry).unbind(-3)
    if symmetry & 4:
        x, y = y, x
    return torch.stack([-x if symmetry & 1 else x, -y if symmetry & 2 else y], -3)


def draw_layer(cutouts: list[Tensor], side: int, rng: np.random.Generator) -> Tensor:
    """A cut-out of random size at a random place of a 4 x side x side canvas."""
    cutout = cutouts[rng.integers(len(cutouts))]
    _, h, w = cutout.shape
    scale = rng.uniform(0.25, 0.9) * side / max(h, w)
    small = turned(_resized(cutout, max(8, int(h * scale)), max(8, int(w * scale))), int(rng.integers(4)))
    _, h, w = small.shape
    y, x = rng.integers(side - h + 1), rng.integers(side - w + 1)
    return F.pad(small, (int(x), int(side - w - x), int(y), int(side - h - y)))


def draw_scenes(
    material: Material,
    count: int,
    size: int,
    ranges: BlurRange,
    rng: np.random.Generator,
    device: torch.device,
    margin: int = MARGIN,
) -> Scenes:
    """``count`` random scenes for crops of ``size`` pixels."""
    side = size + 2 * margin
    photos, cutouts = list(material.photos.values()), list(material.cutouts.values())
    background = torch.stack([draw_background(photos, side, rng) for _ in range(count)])
    layered = (rng.random(count) < ranges.layered) & bool(cutouts)
    empty = torch.zeros(4, side, side, device=background.device)
    layer = torch.stack([draw_layer(cutouts, side, rng) if has else empty for has in layered])
    return Scenes(background.to(device), layer.to(device), layered)


def stills(material: Material | Recorded, size: int, ranges: BlurRange, device: torch.device) -> Source:
    """Single-frame pairs: (count, rng) -> blurred, sharp, each count x 3 x size x size."""
    drawn = clips(material, 1, size, ranges, device, MARGIN)

    def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        blurred, sharp = drawn(count, rng)
        return blurred[:, 0], sharp[:, 0]

    return draw


def clips(
    material: Material | Recorded,
    frames: int,
    size: int,
    ranges: BlurRange,
    device: torch.device,
    margin: int = CLIP_MARGIN,
) -> Source:
    """For networks that see neighbours: (count, rng) -> blurred, sharp, each count x frames x 3 x size x size."""
    if not isinstance(material, Material):
        return material.drawn(frames, size, device)
    names = [name for name, t in material.moments.items() if min(t.shape[-2:]) >= size and len(t) >= frames + 2]
    # A processor that trains has no time for the flow of whole frames; beside a card it has little else to do.
    found = [] if device.type == "cpu" else all_flows([material.moments[name] for name in names])
    flows, material = [flow.to(device) for flow in found] or None, material.on(device)
    moments = [material.moments[name] for name in names]

    def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        if moments and rng.random() < REAL_MOTION_SHARE:
            return motion_clips(moments, count, frames, size, rng, ranges, flows)
        scenes = draw_scenes(material, count, size, ranges, rng, device, margin)
        return render_clip(scenes, frames, size, rng, ranges)

    return draw


def centred(draw: Source) -> Source:
    """A source of clips whose target is the sharp centre frame, count x 3 x H x W."""

    def drawn(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        blurred, sharp = draw(count, rng)
        return blurred, sharp[:, sharp.shape[1] // 2]

    return drawn


def reblur_clips(
    material: Material | Recorded,
    size: int,
    ranges: BlurRange,
    device: torch.device,
    frames: int = 5,
    windows: str = "sharp",
) -> Source:
    """Pairs for the reblurring network: (count, rng) -> blurred centre, window (count x 5 x 3 x ...) with a sharp one.

    Args:
        windows: the neighbours are ``sharp``, or as the ``video`` has them, blurred; or so, and the centre gets the
            blur of the most blurred of them instead of its own (``transfer``; not of what is recorded).
    """
    centre = frames // 2
    if not isinstance(material, Material):
        if windows == "sharp":
            return material.sharp_windows(frames, size, device)
        recorded = material.drawn(frames, size, device)

        def read(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
            blurred, sharp = recorded(count, rng)
            return blurred[:, centre], with_centre(blurred, sharp[:, centre])

        return read
    material = material.on(device)

    def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        scenes = draw_scenes(material, count, size, ranges, rng, device)
        blurred, sharp = render_clip(scenes, frames, size, rng, ranges, transfer=windows == "transfer")
        if windows == "sharp":
            return blurred[:, centre], sharp
        wanted = blurred[:, -1 if windows == "transfer" else centre]
        return wanted, with_centre(blurred[:, :frames], sharp[:, centre])

    return draw


def flow_pairs(material: Material, size: int, device: torch.device) -> Source:
    """For flow networks: (count, rng) -> frames (count x 2 x 3 x size x size), flow from the first to the second."""
    material = material.on(device)

    def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        scenes = draw_scenes(material, count, size, FLOW_RANGES, rng, device)
        pairs = render_pairs(scenes, size, rng)
        return pairs.seen(draw_blur(count, rng), rng), pairs.flow

    return draw
