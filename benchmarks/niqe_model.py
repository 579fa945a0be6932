"""Estimates NIQE's model of sharp photos, as it lies in the package.

PHOTOS is a folder of sharp photos; those in which anything was blurred on purpose count little, since only the sharper
blocks of each are taken. The same photos give the same file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.results import Table
from deblurcli.errors import InputError
from deblurcli.files import OutputFile
from deblurcli.media.images import read_image
from deblurcli.media.inputs import IMAGE_SUFFIXES
from deblurcli.metrics.naturalness import FEATURES, NaturalModel, block_features

MIN_SHARPNESS = 0.75
"""Sharpness of the blocks that make the pristine model, as a share of the photo's sharpest."""

CARD = {
    "model": "NIQE, pristine: mean and covariance of the 36 features of sharp blocks",
    "licence": "MIT",
    "data": "232 sharp photos under open licences (CC0, CC BY, CC BY-SA, BSD, MIT, LGPL), as for plain-unet",
    "command": "python -m benchmarks niqe_model PHOTOS deblurcli/bundled/niqe.npz",
}


def pristine_model(photos: Iterable[Tensor], card: dict[str, Any] | None = None) -> NaturalModel:
    """The model of sharp photos, 3 x H x W in [0, 1] each: the features of the sharper blocks of every photo.

    Raises:
        InputError: the photos have fewer such blocks than the model has features.
    """
    chosen = [np.empty((0, FEATURES))]
    for photo in photos:
        features, sharpness = block_features(photo)
        if len(features):
            chosen.append(features[sharpness >= MIN_SHARPNESS * sharpness.max()])
    features = np.concatenate(chosen)
    features = features[~np.isnan(features).any(1)]
    if len(features) <= FEATURES:
        raise InputError(
            f"{len(features)} sharp blocks are too few for a model of natural pictures", "give more photos"
        )
    return NaturalModel(features.mean(0), np.cov(features, rowvar=False), card or {})


def write_model(path: Path, model: NaturalModel) -> None:
    """Write a file that :func:`deblurcli.metrics.naturalness.read_model` reads. Raises OutputError."""
    card = np.array(json.dumps(model.card))
    with OutputFile(path, overwrite=True) as output:
        np.savez(output.file, mu_pris_param=model.mean[None], cov_pris_param=model.covariance, card=card)


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
