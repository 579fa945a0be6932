"""Training material in memory: sharp photos, cut-outs and video frames, and the scenes drawn from them.

Every draw is a function of the seed and a counter, never of the clock or of an earlier draw: a run that stops and
resumes sees the same crops as one that does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor

from deblurcli.files import OutputFile
from deblurcli.media.images import read_pictures
from deblurcli.synth.flow_pairs import RANGES as FLOW_RANGES
from deblurcli.synth.flow_pairs import draw_blur, render_pairs
from deblurcli.synth.motion import all_flows, motion_clips
from deblurcli.synth.paths import BlurRange
from deblurcli.synth.patterns import patterns
from deblurcli.synth.scenes import Scenes, render_clip
from deblurcli.train.moments import detail, read_moments

MARGIN = 48
"""Pixels around a crop that the camera may wander into before the picture is mirrored."""

CLIP_MARGIN = 80
"""``MARGIN`` where the camera moves on over several frames."""

HELD_OUT_INTERVAL = 16
"""One photo, cut-out and video in so many is kept for validation."""

REAL_MOTION_SHARE = 0.2
"""Share of the batches whose blur comes from the motion between video frames, if there are any."""

DETAIL_RANGE = (12.0, 45.0)
"""Detail of pieces of photos to learn from. Below, they are flat or out of focus; above, they are grass and leaves,
which no network restores and which would fill the batches."""

PHOTOS_PER_PATTERN = 12
KINDS = ("photo/", "cutout/", "moment/")

Source = Callable[[int, np.random.Generator], tuple[Tensor, Tensor]]
"""(count, rng) -> a batch of blurred and sharp pictures or clips."""


def is_held_out(file: str) -> bool:
    """Whether the file of this name is kept for validation."""
    return crc32(file.encode()) % HELD_OUT_INTERVAL == 0


@dataclass(frozen=True)
class Material:
    """Sharp pictures, all uint8.

    ``photos`` are 3 x H x W, by name; ``cutouts`` 4 x H x W (RGB and alpha); ``moments`` 5 x 3 x H x W, consecutive
    frames of videos whose middle one is sharp, by name.
    """

    photos: dict[str, Tensor]
    cutouts: dict[str, Tensor]
    moments: dict[str, Tensor]

    def split(self) -> tuple[Material, Material]:
        """Training and validation material, divided by a hash of the names of the files they come from."""

        def part(tensors: dict[str, Tensor], held_out: bool) -> dict[str, Tensor]:
            chosen = {k: v for k, v in tensors.items() if is_held_out(k.split("#")[0]) == held_out}
            return chosen or tensors

        return tuple(  # type: ignore[return-value]
            Material(*(part(t, held_out) for t in (self.photos, self.cutouts, self.moments)))
            for held_out in (False, True)
        )

    def on(self, device: torch.device) -> Material:
        """The material on a device, where scenes are drawn from it."""
        return Material(
            *({k: t.to(device) for k, t in kind.items()} for kind in (self.photos, self.cutouts, self.moments))
        )

    def __str__(self) -> str:
        kinds = {"photos": self.photos, "cut-outs": self.cutouts, "video moments": self.moments}
        return ", ".join(f"{len(tensors)} {kind}" for kind, tensors in kinds.items() if tensors)


def load_material(folder: Path, seed: int = 0) -> Material:
    """Read a folder of training material, and add rendered patterns to its photos.

    ``photos/`` (or the folder itself) holds sharp pictures, ``cutouts/`` pictures with alpha, ``videos/`` clips; the
    last two may be missing. A ``.safetensors`` file made by :func:`pack_material` is read instead where only torch,
    numpy and safetensors are installed.

    Raises:
        InputError: no pictures there, or a file that cannot be read.
    """
    if folder.suffix == ".safetensors":
        packed = load_file(folder)
        kinds = [{k[len(kind) :]: v for k, v in packed.items() if k.startswith(kind)} for kind in KINDS]
        return Material(*kinds)
    photos = read_pictures(folder / "photos" if (folder / "photos").is_dir() else folder)
    cutouts = read_pictures(folder / "cutouts") if (folder / "cutouts").is_dir() else []
    drawn = patterns(max(1, len(photos) // PHOTOS_PER_PATTERN), seed)
    return Material(
        {name: picture[:3] for name, picture in photos} | {f"pattern {i}": p for i, p in enumerate(drawn)},
        {name: picture for name, picture in cutouts if picture.shape[0] == 4},
        read_moments(folder / "videos") if (folder / "videos").is_dir() else {},
    )


def pack_material(material: Material, path: Path) -> None:
    """Write the material as one safetensors file, for machines without an image reader. Raises OutputError."""
    groups = zip(KINDS, (material.photos, material.cutouts, material.moments), strict=True)
    content = save({kind + name: t.contiguous() for kind, tensors in groups for name, t in tensors.items()})
    with OutputFile(path, overwrite=True) as output:
        output.file.write(content)


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


def stills(material: Material, size: int, ranges: BlurRange, device: torch.device) -> Source:
    """Single-frame pairs: (count, rng) -> blurred, sharp, each count x 3 x size x size."""
    drawn = clips(material, 1, size, ranges, device, MARGIN)

    def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        blurred, sharp = drawn(count, rng)
        return blurred[:, 0], sharp[:, 0]

    return draw


def clips(
    material: Material, frames: int, size: int, ranges: BlurRange, device: torch.device, margin: int = CLIP_MARGIN
) -> Source:
    """For networks that see neighbours: (count, rng) -> blurred, sharp, each count x frames x 3 x size x size."""
    moments = [t for t in material.moments.values() if min(t.shape[-2:]) >= size and len(t) >= frames + 2]
    # A processor that trains has no time for the flow of whole frames; beside a card it has little else to do.
    flows = None if device.type == "cpu" else [flow.to(device) for flow in all_flows(moments)]
    material, moments = material.on(device), [moment.to(device) for moment in moments]

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


def reblur_clips(material: Material, size: int, ranges: BlurRange, device: torch.device, frames: int = 5) -> Source:
    """Pairs for the reblurring network: (count, rng) -> blurred centre, sharp window (count x 5 x 3 x ...)."""
    material = material.on(device)

    def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        scenes = draw_scenes(material, count, size, ranges, rng, device)
        blurred, sharp = render_clip(scenes, frames, size, rng, ranges)
        return blurred[:, frames // 2], sharp

    return draw


def flow_pairs(material: Material, size: int, device: torch.device) -> Source:
    """For flow networks: (count, rng) -> frames (count x 2 x 3 x size x size), flow from the first to the second."""
    material = material.on(device)

    def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        scenes = draw_scenes(material, count, size, FLOW_RANGES, rng, device)
        pairs = render_pairs(scenes, size, rng)
        return pairs.seen(draw_blur(count, rng), rng), pairs.flow

    return draw
