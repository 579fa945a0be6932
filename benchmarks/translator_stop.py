"""Which number, told without the truth, finds the best checkpoint of a translator, and whether there is any gain.

A translator is trained for each camera of ``domains``, on the same footage, and a copy of it is kept at each
validation. Each copy restores the clips that ``domains`` scores. For each number of the training's log: what choosing
the copy by it loses against the best copy, and how it and the gain go together over all copies.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest import mock

import numpy as np
from torch import nn

from benchmarks.domains import CLIP, Row, psnr, scenes, trained
from benchmarks.results import Table
from benchmarks.unknown_cameras import CAMERAS, UnknownCamera, filmed
from deblurcli.media.images import read_image
from deblurcli.options.compute import ComputeOptions
from deblurcli.restore.worker import Worker
from deblurcli.train.stages import blur2blur
from deblurcli.train.validation import Scores
from deblurcli.weights.save import save_network

NUMBERS: dict[str, Callable[[Scores], float]] = {
    "sharpness of restored frames": lambda s: s["validation_input_self_shift"] - s["validation_self_shift"],
    "change of the frames": lambda s: -s["validation_change_psnr"],
    "pairs, translated": lambda s: s["validation_pair_psnr"] - s["validation_input_pair_psnr"],
    "pairs, restored": lambda s: s["validation_restored_pair_psnr"] - s["validation_input_restored_pair_psnr"],
    "known blur passes": lambda s: s["validation_known_psnr"],
}
"""Higher is better."""
LAST = "none: the last checkpoint"


def checkpoints(camera: UnknownCamera, photos: list[Path], minutes: float, folder: Path) -> list[tuple[Path, Scores]]:
    """Train a translator; its copies at the validations, the untrained one first, and their scores."""
    found: list[tuple[Path, Scores]] = []
    validator = blur2blur.validator

    def watched(*args: Any) -> Callable[[nn.Module], Scores]:
        validate, start = validator(*args), args[4]

        def scored(module: nn.Module) -> Scores:
            scores, path = validate(module), folder / f"{len(found)}.safetensors"
            save_network(path, copy.deepcopy(module), network="blur-translator", config=start.config, card={})
            found.append((path, scores))
            return scores

        return scored

    with mock.patch.object(blur2blur, "validator", watched):
        trained(Row({}), camera, photos, minutes, folder, save_every=minutes / 8)
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", type=Path, help="a folder of more sharp pictures to score, *_gt.png")
    parser.add_argument("--cameras", nargs="+", choices=CAMERAS, default=list(CAMERAS), metavar="CAMERA")
    parser.add_argument("--minutes", type=float, default=2.0, help="training of a translator")


def run(args: argparse.Namespace) -> list[Table]:
    worker = Worker(ComputeOptions())
    network = worker.place("plain-unet", "video", "deblur")
    learnt_from, scored = scenes(args.data, args.pictures)
    passes = Table("copies", {"camera": "", "progress": ".2f", "gain (dB)": "+.2f", "least clip": "+.2f"})
    for name in NUMBERS:
        passes.columns[name] = "+.2f"
    curves: list[tuple[list[float], list[Scores]]] = []
    for camera in args.cameras:
        with tempfile.TemporaryDirectory() as folder:
            copies = checkpoints(CAMERAS[camera], learnt_from, args.minutes, Path(folder))
            clips = [filmed(CAMERAS[camera], read_image(file).rgb(), CLIP, 300 + i) for i, file in enumerate(scored)]
            alone = [psnr(network, worker, Row(), None, *clip) for clip in clips]
            gains = []
            for number, (path, scores) in enumerate(copies):
                found = [psnr(network, worker, Row(), path, *clip) for clip in clips] if number else alone
                each = [after - before for after, before in zip(found, alone, strict=True)]
                gains.append(fmean(each))
                progress = number / (len(copies) - 1)
                passes.add(camera, progress, gains[-1], min(each), *(of(scores) for of in NUMBERS.values()))
            curves.append((gains, [scores for _, scores in copies]))
    columns = {"chosen by": "", "lost to the best copy (dB)": ".2f", "most": ".2f", "correlation": ".2f"}
    table = Table("numbers", columns)
    lost = [max(gains) - gains[-1] for gains, _ in curves]
    table.add(LAST, fmean(lost), max(lost), None)
    for name, of in NUMBERS.items():
        lost, together = [], []
        for gains, logged in curves:
            values = [of(scores) for scores in logged]
            lost.append(max(gains) - gains[int(np.argmax(values))])
            if np.std(values) and np.std(gains):
                together.append(float(np.corrcoef(values, gains)[0, 1]))
        table.add(name, fmean(lost), max(lost), fmean(together) if together else None)
    return [passes, table]
