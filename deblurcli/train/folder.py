"""Training material as people have it: a folder of pictures and videos."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from deblurcli.media.images import read_pictures
from deblurcli.synth.patterns import patterns
from deblurcli.train.moments import read_moments

PHOTOS_PER_PATTERN = 12

Pictures = dict[str, Tensor]
"""uint8 pictures by name."""


def read_folder(folder: Path, seed: int) -> tuple[Pictures, Pictures, Pictures]:
    """Photos with rendered patterns, cut-outs and moments of videos, as :class:`deblurcli.train.material.Material`.

    ``photos/`` (or the folder itself) holds sharp pictures, ``cutouts/`` pictures with alpha, ``videos/`` clips; the
    last two may be missing.

    Args:
        seed: of the patterns.

    Raises:
        InputError: no pictures there, or a file that cannot be read.
    """
    photos = read_pictures(folder / "photos" if (folder / "photos").is_dir() else folder)
    cutouts = read_pictures(folder / "cutouts") if (folder / "cutouts").is_dir() else []
    drawn = patterns(max(1, len(photos) // PHOTOS_PER_PATTERN), seed)
    return (
        {name: picture[:3] for name, picture in photos} | {f"pattern {i}": p for i, p in enumerate(drawn)},
        {name: picture for name, picture in cutouts if picture.shape[0] == 4},
        read_moments(folder / "videos") if (folder / "videos").is_dir() else {},
    )
