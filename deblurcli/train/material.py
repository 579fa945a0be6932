"""Training material in memory: sharp photos, cut-outs and moments of videos, from a folder or packed in one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from deblurcli.files import OutputFile

HELD_OUT_INTERVAL = 16
"""One photo, cut-out and video in so many is kept for validation."""

KINDS = ("photo/", "cutout/", "moment/")


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
    """Read a folder of training material (:func:`deblurcli.train.folder.read_folder`), or a packed file.

    A ``.safetensors`` file made by :func:`pack_material` needs torch, numpy and safetensors alone.

    Raises:
        InputError: no pictures there, or a file that cannot be read.
    """
    if folder.suffix == ".safetensors":
        packed = load_file(folder)
        kinds = [{k[len(kind) :]: v for k, v in packed.items() if k.startswith(kind)} for kind in KINDS]
        return Material(*kinds)
    from deblurcli.train.folder import read_folder

    return Material(*read_folder(folder, seed))


def pack_material(material: Material, path: Path) -> None:
    """Write the material as one safetensors file, for machines without an image reader. Raises OutputError."""
    groups = zip(KINDS, (material.photos, material.cutouts, material.moments), strict=True)
    content = save({kind + name: t.contiguous() for kind, tensors in groups for name, t in tensors.items()})
    with OutputFile(path, overwrite=True) as output:
        output.file.write(content)
