"""Supervised pairs while adapting: the set S of the loss L_S of Reblur2Deblur (Chen et al., ICCP 2018, section 3.3).

They keep a network from forgetting what it has learnt. The paper draws them from the pairs that the network was
trained on. Here S is a folder of pairs, or of sharp photos that are blurred as in training; by default the photos in
the package. Files are read when they are drawn, and no more of them are kept than memory has room for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.adaptation.pair_files import Pairs, Pictures, corner
from deblurcli.adaptation.replay import replay_blur, replay_clip
from deblurcli.datasets.folders import pairs_below
from deblurcli.datasets.layouts import SYNTH_SIDES
from deblurcli.errors import InputError
from deblurcli.files import reason
from deblurcli.media.footage import unit
from deblurcli.media.inputs import IMAGE_SUFFIXES, look

PHOTOS = Path(__file__).parents[1] / "bundled" / "photos"
"""The photos in the package."""
MARGIN = 32
"""Pixels around a piece of a photo from where its blur brings something in, where the photo is large enough."""
SCALES = (0.4, 1.0)
"""At which pieces of photos are seen: large photos are seldom sharp to the pixel."""
MAX_BORDER = 0.25
"""Share of a clip's side that its border is at most: the camera goes far, but not within the middle frame."""


class Supervised(Protocol):
    """A source of supervised pairs."""

    def draw(
        self, rng: np.random.Generator, side: int, frames: int, device: torch.device
    ) -> tuple[Tensor, Tensor, int]:
        """A random pair, which depends on nothing but the generator.

        Args:
            side: of the pieces, in pixels.
            frames: T, as many as the network sees, an odd number.

        Returns:
            Blurred frames in a row (1 x T x 3 x side x side), the middle one sharp (1 x 3 x side x side), both in
            [0, 1] on the device, and the width of the border, in pixels, that depends on what lies outside.

        Raises:
            InputError: a file cannot be read, is smaller than the piece, or its partner has another size.
        """

    def __str__(self) -> str:
        """What is drawn from, for people and the record."""


def supervised_of(chosen: str) -> Supervised:
    """The source of supervised pairs that a user names.

    Args:
        chosen: ``auto``, the photos in the package, or a folder. One with the folders ``blurred`` and ``sharp``, or
            ``blur`` and ``sharp``, in it or anywhere below, holds pairs; any other holds sharp photos.

    Raises:
        InputError: the folder cannot be read or holds nothing, or a blurred file has no sharp partner.
    """
    if chosen == "auto":
        return Photos(PHOTOS, "the package")
    folder = Path(chosen)
    try:
        if not folder.is_dir():
            found = "is not a folder" if folder.exists() else "does not exist"
            raise InputError(f"--supervised {chosen} {found}", "give a folder of photos or pairs, or auto")
        side = SYNTH_SIDES.get(folder.name)
        if side and (folder.parent / side).is_dir():
            raise InputError(f"--supervised {chosen} is one side of pairs", f"give {folder.parent}")
        pairs = pairs_below(folder)
        return Pairs(pairs, str(folder)) if pairs else Photos(folder, str(folder))
    except OSError as error:
        found = f"{error.filename or chosen} cannot be read: {reason(error)}"
        raise InputError(found, "check the path and its permissions") from error


class Photos:
    """A :class:`Supervised` of sharp photos: pieces, reduced and turned at random, and blurred as in training.

    Args:
        folder: the photos lie in it and in the folders below it.
        name: for people.

    Raises:
        InputError: there are none.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.files = list(look([folder], IMAGE_SUFFIXES, recursive=True).files)
        if self.files == [folder]:
            raise InputError(f"folder {folder} has no pictures", "give a folder of photos or pairs, or auto")
        self.name, self.pictures = name, Pictures()

    def __str__(self) -> str:
        return f"{len(self.files)} photos of {self.name}"

    def draw(
        self, rng: np.random.Generator, side: int, frames: int, device: torch.device
    ) -> tuple[Tensor, Tensor, int]:
        """A random piece of a random photo, blurred; of several frames along one path of the camera."""
        path = self.files[int(rng.integers(len(self.files)))]
        photo = self.pictures(path)
        shortest = min(photo.shape[-2:])
        wide = max(min(side + 2 * MARGIN, shortest), side)
        reach = max(min(int(wide / rng.uniform(*SCALES)), shortest), side)
        y, x = corner(photo, reach, path, rng)
        piece = unit(photo[None, :, y : y + reach, x : x + reach].to(device))
        if reach > wide:
            piece = F.interpolate(piece, (wide, wide), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        piece = piece.rot90(int(rng.integers(4)), (-2, -1))
        piece = (piece.flip(-1) if rng.integers(2) else piece).contiguous()
        if frames > 1:
            blurred, sharp, border = replay_clip(piece, frames, rng)
            border = min(border, int(MAX_BORDER * side))
        else:
            blurred, sharp, border = replay_blur(piece, rng)
            blurred = blurred[:, None]
        margin = (wide - side) // 2
        inside = (..., slice(margin, margin + side), slice(margin, margin + side))
        return blurred[inside], sharp[inside], max(border - margin, 0)
