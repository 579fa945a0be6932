"""Training material: sharp photos and cut-outs in memory, scenes drawn from them, and the ring of prepared crops.

Every draw is a function of the seed and a counter, never of the clock or of an earlier draw: a run that stops and
resumes sees the same crops as one that does not.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.synth import BlurRange, Scenes, render_clip

MARGIN = 48
"""Pixels around a crop that the camera may wander into before the picture is mirrored."""

HELD_OUT = 16
"""One photo in this many is kept for validation."""


@dataclass(frozen=True)
class Material:
    """Sharp pictures: ``photos`` are 3 x H x W uint8, ``cutouts`` 4 x H x W uint8 (RGB and alpha)."""

    photos: list[Tensor]
    cutouts: list[Tensor]
    names: list[str]

    def split(self) -> tuple[Material, Material]:
        """Training and validation material, divided by a hash of the photos' names; the cut-outs are divided too."""

        def held(name: str) -> bool:
            return zlib.crc32(name.encode()) % HELD_OUT == 0

        photos = list(zip(self.photos, self.names, strict=True))
        train = [(p, n) for p, n in photos if not held(n)] or photos
        valid = [(p, n) for p, n in photos if held(n)] or photos[:1]
        kept = max(len(self.cutouts) // HELD_OUT, min(len(self.cutouts), 1))
        return (
            Material([p for p, _ in train], self.cutouts[kept:] or self.cutouts, [n for _, n in train]),
            Material([p for p, _ in valid], self.cutouts[:kept], [n for _, n in valid]),
        )


def load_material(folder: Path) -> Material:
    """Read a folder of training pictures.

    ``photos/`` (or the folder itself) holds sharp pictures, ``cutouts/`` pictures with alpha. A ``.safetensors`` file
    made by :func:`pack_material` is read instead where only torch, numpy and safetensors are installed.

    Raises:
        InputError: no pictures there, or one that cannot be read.
    """
    if folder.suffix == ".safetensors":
        from safetensors.torch import load_file

        tensors = load_file(folder)
        photos = {k: v for k, v in tensors.items() if k.startswith("photo/")}
        return Material(
            list(photos.values()),
            [v for k, v in tensors.items() if k.startswith("cutout/")],
            [k.removeprefix("photo/") for k in photos],
        )
    from deblurcli.media.images import read_pictures

    photos_folder = folder / "photos" if (folder / "photos").is_dir() else folder
    named = read_pictures(photos_folder)
    material = Material(
        [p[:3] for _, p in named],
        [p for _, p in read_pictures(folder / "cutouts") if p.shape[0] == 4] if (folder / "cutouts").is_dir() else [],
        [n for n, _ in named],
    )
    return material


def pack_material(material: Material, path: Path) -> None:
    """Write the material as one safetensors file of uint8 tensors, for machines without an image reader."""
    from safetensors.torch import save_file

    tensors = {f"photo/{n}": p.contiguous() for n, p in zip(material.names, material.photos, strict=True)}
    tensors |= {f"cutout/{i:04d}": c.contiguous() for i, c in enumerate(material.cutouts)}
    save_file(tensors, path)


def _detail(patch: Tensor) -> float:
    """Mean absolute gradient of a uint8 3 x h x w patch, looked at on every second pixel."""
    grey = patch[1, ::2, ::2].float()
    return float((grey[1:] - grey[:-1]).abs().mean() + (grey[:, 1:] - grey[:, :-1]).abs().mean())


def _resized(picture: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(
        picture[None].float(), (height, width), mode="bicubic", antialias=True, align_corners=False
    )[0].div_(255).clamp_(0, 1)


def draw_background(photos: list[Tensor], side: int, rng: np.random.Generator, tries: int = 3) -> Tensor:
    """A 3 x side x side piece of a random photo, reduced and turned at random: the most detailed of some draws."""
    best, most = None, -1.0
    for _ in range(tries):
        photo = photos[rng.integers(len(photos))]
        _, h, w = photo.shape
        reach = min(min(h, w), int(side / rng.uniform(0.4, 1.0)))
        y, x = rng.integers(h - reach + 1), rng.integers(w - reach + 1)
        piece = photo[:, y : y + reach, x : x + reach]
        if (detail := _detail(piece)) > most:
            best, most = piece, detail
    assert best is not None
    return turned(_resized(best, side, side), int(rng.integers(8)))


def turned(picture: Tensor, symmetry: int) -> Tensor:
    """One of the 8 symmetries of the square (0..7) applied to the last two dimensions."""
    if symmetry & 4:
        picture = picture.transpose(-1, -2)
    dims = [d for d, bit in ((-1, 1), (-2, 2)) if symmetry & bit]
    return picture.flip(dims) if dims else picture


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
    material: Material, count: int, size: int, ranges: BlurRange, rng: np.random.Generator, device: torch.device
) -> Scenes:
    """``count`` random scenes for crops of ``size`` pixels."""
    side = size + 2 * MARGIN
    background = torch.stack([draw_background(material.photos, side, rng) for _ in range(count)])
    layered = (rng.random(count) < ranges.layered) & bool(material.cutouts)
    empty = torch.zeros(4, side, side)
    layer = torch.stack([draw_layer(material.cutouts, side, rng) if has else empty for has in layered])
    return Scenes(background.to(device), layer.to(device), layered)


def stills(
    material: Material, size: int, ranges: BlurRange, device: torch.device
) -> Callable[[int, np.random.Generator], tuple[Tensor, Tensor]]:
    """A source of single-frame pairs: (count, rng) -> blurred, sharp, each count x 3 x size x size."""

    def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        scenes = draw_scenes(material, count, size, ranges, rng, device)
        blurred, sharp = render_clip(scenes, 1, size, rng, ranges)
        return blurred[:, 0], sharp[:, 0]

    return draw


def reblur_clips(
    material: Material, size: int, ranges: BlurRange, device: torch.device, frames: int = 5
) -> Callable[[int, np.random.Generator], tuple[Tensor, Tensor]]:
    """A source for the reblurring network: (count, rng) -> blurred centre, sharp window (count x 5 x 3 x ...)."""

    def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        scenes = draw_scenes(material, count, size, ranges, rng, device)
        blurred, sharp = render_clip(scenes, frames, size, rng, ranges)
        return blurred[:, frames // 2], sharp

    return draw


class CropRing:
    """A ring of prepared pairs, refreshed as training goes on, so that making crops costs less than training on them.

    The pairs in the ring at an iteration are a function of ``seed`` and the iteration alone.

    Args:
        draw: a source such as :func:`stills`.
        capacity: pairs kept.
        group: pairs made at a time.
        every: iterations between two groups; 0 keeps the first filling for ever.
        first: groups made before the first iteration.
    """

    def __init__(
        self,
        draw: Callable[[int, np.random.Generator], tuple[Tensor, Tensor]],
        *,
        capacity: int,
        group: int,
        every: int,
        first: int,
        seed: int,
    ) -> None:
        self.draw, self.group, self.every, self.first, self.seed = draw, group, every, first, seed
        self.slots = max(capacity // group, 1)
        self.made = 0
        self.pairs: dict[int, tuple[Tensor, Tensor]] = {}

    def _make(self, index: int) -> None:
        blurred, sharp = self.draw(self.group, np.random.default_rng([self.seed, 1, index]))
        self.pairs[index % self.slots] = tuple(  # type: ignore[assignment]
            (t.clamp(0, 1) * 255).round().to(torch.uint8) for t in (blurred, sharp)
        )

    def advance(self, iteration: int, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Bring the ring to its state at ``iteration``; after a resume only what is still in it is made again."""
        wanted = self.first + (iteration // self.every if self.every else 0)
        start = max(self.made, wanted - self.slots)
        for index in range(start, wanted):
            self._make(index)
            progress(index - start + 1, wanted - start)
        self.made = max(self.made, wanted)

    def batch(self, iteration: int, count: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """``count`` random pairs cropped to ``size`` and turned at random: float, in [0, 1]."""
        rng = np.random.default_rng([self.seed, 2, iteration])
        chosen: tuple[list[Tensor], list[Tensor]] = ([], [])
        for _ in range(count):
            group = self.pairs[int(rng.integers(len(self.pairs)))]
            item, symmetry = int(rng.integers(self.group)), int(rng.integers(8))
            room = group[0].shape[-1] - size
            y, x = int(rng.integers(room + 1)), int(rng.integers(room + 1))
            for pieces, tensor in zip(chosen, group, strict=True):
                pieces.append(turned(tensor[item, ..., y : y + size, x : x + size], symmetry))
        blurred, sharp = (torch.stack(pieces).to(device).float().div_(255) for pieces in chosen)
        return blurred, sharp
