"""Estimates NIQE's model of sharp photos, as it lies in the package.

PHOTOS is a folder of sharp photos; those in which anything was blurred on purpose count little, since only the sharper
blocks of each are taken. The same photos give the same file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from benchmarks.results import Table
from deblurcli.media.images import read_image
from deblurcli.media.inputs import IMAGE_SUFFIXES
from deblurcli.metrics.naturalness import pristine_model, write_model

CARD = {
    "model": "NIQE, pristine: mean and covariance of the 36 features of sharp blocks",
    "licence": "MIT",
    "data": "232 sharp photos under open licences (CC0, CC BY, CC BY-SA, BSD, MIT, LGPL), as for plain-unet",
    "command": "python -m benchmarks niqe_model PHOTOS deblurcli/bundled/niqe.npz",
}


def photos(folder: Path) -> Iterator[Tensor]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            yield read_image(path).rgb()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path, metavar="OUT.npz")


def run(options: argparse.Namespace) -> list[Table]:
    write_model(options.out, pristine_model(photos(options.photos), CARD))
    print(f"{options.out}: {options.out.stat().st_size} bytes")
    return []
