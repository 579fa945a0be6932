"""Small datasets on disk, each of the exact shape in which its authors publish it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.synth.pairs import shaken

J = "RealBlur-J_ECC_IMCORR_centroid_itensity_ref"
R = "RealBlur-R_BM3D_ECC_IMCORR_centroid_itensity_ref"


SHAKEN_FRAMES = 14


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (40, 48), blurs: bool = False) -> Path:
    """Write a picture of coarse texture, as it is or blurred along x; height and width in ``size``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(40, 216, (size[0] // 4, size[1] // 4, 3), np.uint8)
    sharp = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), cv2.blur(sharp, (5, 1)) if blurs else sharp)
    return path


def shapes(layout: str) -> Iterator[tuple[str, str, str, str]]:
    """Split, clip, and the blurred and the sharp path of each pair of a dataset."""
    for split, clip in (("train", "one"), ("test", "two"), ("test", "three")):
        for frame in (9, 10, 11) if split == "test" else (1, 2):
            if layout in ("gopro", "gopro-gamma"):
                blur = "blur" if layout == "gopro" else "blur_gamma"
                yield split, clip, f"{split}/{clip}/{blur}/{frame:06d}.png", f"{split}/{clip}/sharp/{frame:06d}.png"
            elif layout == "dvd":
                name = {"one": "IMG_0001", "two": "IMG_0003", "three": "720p_240fps_2"}[clip]
                top = f"quantitative_datasets/{name}"
                yield split, name, f"{top}/input/{frame:05d}.jpg", f"{top}/GT/{frame:05d}.jpg"
            elif layout == "reds":
                part, name = {"test": "val"}.get(split, split), {"one": "000", "two": "001", "three": "002"}[clip]
                yield (
                    split,
                    name,
                    f"{part}/{part}_blur/{name}/{frame:08d}.png",
                    f"{part}/{part}_sharp/{name}/{frame:08d}.png",
                )
            elif layout in ("realblur-j", "realblur-r"):
                top = f"{J if layout.endswith('j') else R}/scene_{clip}"
                yield split, f"scene_{clip}", f"{top}/blur/blur_{frame}.png", f"{top}/gt/gt_{frame}.png"
            elif layout == "rsblur":
                top = f"RSBlur/{clip}/{frame:06d}"
                yield split, clip, f"{top}/real_blur/real_blur.png", f"{top}/gt/gt_sharp.png"
            elif layout == "bsd":
                top = f"BSD_3ms24ms/{split}/{clip}"
                yield split, clip, f"{top}/Blur/RGB/{frame:08d}.png", f"{top}/Sharp/RGB/{frame:08d}.png"
            elif layout == "rb2v":
                yield split, clip, f"{clip}/blur/{frame:04d}.png", f"{clip}/sharp/{frame:04d}_4.png"
            else:
                sides = ("blurred", "sharp") if layout == "synth" else ("input", "target")
                yield split, clip, *(f"{split}/{side}/{clip}/{frame}.png" for side in sides)


def make_dataset(top: Path, layout: str, size: tuple[int, int] = (40, 48)) -> list[tuple[str, str, Path, Path]]:
    """Make a dataset of one training and two test clips; returns what :func:`shapes` says, with whole paths."""
    made = []
    for seed, (split, clip, blurred, sharp) in enumerate(shapes(layout)):
        made.append((split, clip, picture(top / blurred, seed, size, True), picture(top / sharp, seed, size)))
    if layout == "rb2v":
        for _, _, _, sharp in made:  # the rest of the exposure
            for number in (1, 2, 3, 5, 6, 7):
                picture(Path(str(sharp).replace("_4.", f"_{number}.")), number, size)
        data = [{"blur_path": blurred.relative_to(top).as_posix(), "partition": split} for split, _, blurred, _ in made]
        (top / "metadata.json").write_text(json.dumps({"name": "Street", "frame_per_seq": 7, "data": data}))
    for split in ("train", "test"):
        names = {"realblur-j": f"RealBlur_J_{split}_list.txt", "realblur-r": f"RealBlur_R_{split}_list.txt"}
        if name := (names | {"rsblur": f"RSBlur_real_{split}.txt"}).get(layout):
            lines = [
                f"{s.relative_to(top).as_posix()} {b.relative_to(top).as_posix()} \n"
                for of, _, b, s in made
                if of == split
            ]
            (top / name).write_text("".join(lines[::-1]))  # in no order
    return made


def soft_shapes(seed: int, size: int) -> Tensor:
    """Soft shapes with strong contrast, 3 x size x size in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    layers = [
        F.interpolate(torch.rand(1, 3, size // s, size // s, generator=generator), (size, size), mode="bicubic")
        for s in (9, 14, 25)
    ]
    return ((sum(layers)[0] / 3 - 0.5) * 3 + 0.5).clamp(0.02, 0.98)  # type: ignore[index]


def shaken_dataset(top: Path, side: int = 288, split: str = "train") -> Path:
    """Clips in GoPro's layout that a camera shook."""
    for seed, name in enumerate(("a", "b")):
        pairs = shaken(soft_shapes(seed, side + 160), SHAKEN_FRAMES, 25, 8, seed, 2.2, 0.0)
        for number, pair in enumerate(islice(pairs, SHAKEN_FRAMES), 1):
            for folder, frame in zip(("blur", "sharp"), pair, strict=True):
                path = top / split / name / folder / f"{number:06}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                samples = (frame[:, :side, :side] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
                cv2.imwrite(str(path), samples[:, :, ::-1])
    return top
