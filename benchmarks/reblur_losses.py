"""The blur that reblurring networks make, against the blur that they are to make.

Each variant trains for M minutes from random weights with the same crops; or networks are judged as they are
(--weights). The windows are of held-out clips: `sharp`, five sharp frames whose middle one is to get its own blur, as
in the paper; and `transfer`, a sharp frame among blurred ones, as an adaptation shows them, which is to get the blur of
the most blurred.

Given are the PSNR of the made blur, and by how much it is above that of the sharp frame; the spread over directions,
the largest less the smallest of the four parts of the self-shift score that it adds; and whether it is the right blur.
For that, straight paths are compared: the one that turns the sharp frame into the made blur best, and the one for the
blur to make. The angle between them and the ratio of their lengths are medians over the clips whose blur is a straight
path of 4 pixels or more.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.results import Table
from deblurcli.adaptation.camera import KNOTS
from deblurcli.api import train_network
from deblurcli.metrics.self_shift import smoothness
from deblurcli.options.train import ReblurTraining
from deblurcli.synth.exposure import expose_paths
from deblurcli.synth.paths import BlurRange
from deblurcli.train.data import reblur_clips
from deblurcli.train.material import Material, load_material
from deblurcli.train.validation import mean_psnr
from deblurcli.weights.load import load_network

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "no critic": {"adversarial_weight": 0.0},
    "no critic, no smoothness": {"adversarial_weight": 0.0, "smoothness_weight": 0.0},
    "no smoothness": {"smoothness_weight": 0.0},
    "edges for smoothness": {"smoothness_weight": 0.0, "edge_weight": 1.0},
    "cycle too": {"cycle_weight": 0.5},
    "windows as in a video": {"windows": "video"},
    "sharp windows": {"windows": "sharp"},
    "videoadapt-small": {"network": "videoadapt-small"},
}
"""Options of `deblur train reblur` that differ from its own."""
CLIPS, SIDE, SEED = 48, 128, 77
ANGLES = 16
LENGTHS = (0, 2, 4, 6, 8, 11, 14, 18, 23, 29, 36)
"""Pixels, of the straight paths that are tried."""
CLEAR = 1.5
"""Times less error with the best path than with none that make a blur count as a straight path."""
MARGIN = 20
"""Pixels at each edge that do not count: paths come in from outside."""


def straight(sharp: Tensor, blurred: Tensor) -> tuple[float, float, bool]:
    """Angle (radians, of half a turn) and length (pixels) of the straight path that explains blur best, and whether it
    does so clearly; both pictures 3 x H x W."""
    grey, wanted = (picture.mean(0, keepdim=True) for picture in (sharp, blurred))
    best, least, none = (0.0, 0.0), math.inf, math.inf
    for length in LENGTHS:
        angles = torch.arange(ANGLES if length else 1) * math.pi / ANGLES
        along = torch.linspace(-length / 2, length / 2, KNOTS)[:, None]
        paths = along * torch.stack([angles.cos(), angles.sin()], -1)[:, None]
        seen = expose_paths(grey.expand(len(paths), -1, -1, -1), paths, 2 * (length // 2) + 1)
        errors = (seen - wanted)[..., MARGIN:-MARGIN, MARGIN:-MARGIN].square().mean((1, 2, 3))
        found = int(errors.argmin())
        none = min(none, float(errors[found])) if not length else none
        if float(errors[found]) < least:
            best, least = (float(angles[found]), float(length)), float(errors[found])
    return *best, none > CLEAR * least


@dataclass(frozen=True)
class Judged:
    """Windows of one kind (N x 5 x 3 x H x W), and what their middle is to become (N x 3 x H x W)."""

    windows: Tensor
    wanted: Tensor

    @property
    def middle(self) -> Tensor:
        return self.windows[:, self.windows.shape[1] // 2]

    @cached_property
    def paths(self) -> dict[int, tuple[float, float]]:
        """Angle and length of the clear straight paths, by the number of the window."""
        found = [straight(*pair) for pair in zip(self.middle, self.wanted, strict=True)]
        return {n: (angle, length) for n, (angle, length, clear) in enumerate(found) if clear and length >= 4}

    def figures(self, made: Tensor) -> list[float | int | None]:
        """What the table says of blurred pictures (N x 3 x H x W in [0, 1])."""
        psnr, nothing = mean_psnr(made, self.wanted), mean_psnr(self.middle, self.wanted)
        added = smoothness(made) - smoothness(self.middle)
        spread = float((added.amax(1) - added.amin(1)).mean())
        apart, ratios = [], []
        for number, (angle, length) in self.paths.items():
            its_angle, its_length, _ = straight(self.middle[number], made[number])
            turn = abs(its_angle - angle) % math.pi
            apart.append(math.degrees(min(turn, math.pi - turn)) if its_length else 90.0)
            ratios.append(its_length / length)
        told = (median(apart), median(ratios)) if self.paths else (None, None)
        return [psnr, psnr - nothing, spread, len(self.paths), *told]


def judged(held_out: Material, kind: str) -> Judged:
    ranges = BlurRange(layered=0.0, compressed=0.0)
    draw = reblur_clips(held_out, SIDE, ranges, torch.device("cpu"), windows=kind)
    wanted, windows = draw(CLIPS, np.random.default_rng(SEED))
    return Judged(windows, wanted)


@torch.no_grad()
def blur(network: nn.Module, windows: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return torch.cat([network(clip) for clip in windows.split(4)]).float().clamp(0, 1)


def networks(args: argparse.Namespace) -> Iterator[tuple[str, nn.Module]]:
    """Those of ``--weights``, or each variant as soon as it is trained."""
    for weights in args.weights:
        yield weights, load_network(weights, role="reblur").module
    for name in args.variants or ([] if args.weights else VARIANTS):
        with tempfile.TemporaryDirectory() as folder:
            train_network(
                "reblur", data=args.data, out=Path(folder), minutes=args.minutes, batch=6, crops=(128,), ring=256,
                save_every=60, **VARIANTS[name],
            )  # fmt: skip
            network = VARIANTS[name].get("network", ReblurTraining.network)
            yield name, load_network(Path(folder) / f"{network}.safetensors", role="reblur").module


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--weights", nargs="+", default=[], metavar="NAME|FILE", help="networks to judge as they are")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=[], metavar="VARIANT", help="only these")
    parser.add_argument("--title", default="losses", help="of the table")


def run(args: argparse.Namespace) -> list[Table]:
    _, held_out = load_material(args.data).split()
    kinds = {kind: judged(held_out, kind) for kind in ("sharp", "transfer")}
    numbers = {"reblur PSNR (dB)": ".2f", "over the sharp frame (dB)": "+.2f", "spread over directions (dB)": ".2f"}
    paths = {"clips": "d", "angle apart (degrees)": ".0f", "length": ".2f"}
    table = Table(args.title, {"network": "", "windows": ""} | numbers | paths)
    for kind, shown in kinds.items():
        table.add("the blur to make", kind, None, None, *shown.figures(shown.wanted)[2:])
    for name, network in networks(args):
        for kind, shown in kinds.items():
            table.add(name, kind, *shown.figures(blur(network, shown.windows)))
    return [table]
