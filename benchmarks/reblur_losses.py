"""The losses of the reblurring network: what each adds, in equal time.

Each variant trains from random weights for M minutes with the same crops. Reported on held-out clips: PSNR of the made
blur against the true one, and of returning the sharp frame; and whether it is the clip's own blur. For that, straight
paths are compared: the one that turns the sharp frame into the made blur best, and the one for the true blur. Given are
the angle between them and the ratio of their lengths, medians over the clips whose true blur is a straight path of 4
pixels or more.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.results import Table
from deblurcli.adaptation.camera import KNOTS
from deblurcli.api import train_network
from deblurcli.synth.exposure import expose_paths
from deblurcli.synth.paths import BlurRange
from deblurcli.train.data import reblur_clips
from deblurcli.train.material import load_material
from deblurcli.train.validation import mean_psnr
from deblurcli.weights.load import load_network

LOSSES: dict[str, dict[str, Any]] = {
    "Charbonnier": {"adversarial_weight": 0.0},
    "Charbonnier + adversarial (default)": {},
    "Charbonnier + cycle": {"adversarial_weight": 0.0, "cycle_weight": 0.5},
    "Charbonnier + adversarial + cycle": {"cycle_weight": 0.5},
}
CLIPS, SIDE, SEED = 48, 128, 77
ANGLES = 16
LENGTHS = (0, 2, 4, 6, 8, 11, 14, 18, 23, 29, 36)
"""Pixels, of the straight paths that are tried."""
CLEAR = 1.5
"""Times less error with the best path than with none that make a blur count as a straight path."""


def straight(sharp: Tensor, blurred: Tensor) -> tuple[float, float, bool]:
    """Angle (radians, of half a turn) and length (pixels) of the straight path that explains blur best, and whether it
    does so clearly; both pictures 3 x H x W."""
    best, least, none = (0.0, 0.0), math.inf, math.inf
    for length in LENGTHS:
        for angle in np.arange(ANGLES if length else 1) * math.pi / ANGLES:
            along = torch.linspace(-length / 2, length / 2, KNOTS)[:, None]
            path = along * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float32)
            seen = expose_paths(sharp[None], path[None], 2 * (length // 2) + 1)
            error = float((seen[0] - blurred)[..., 20:-20, 20:-20].square().mean())
            none = min(none, error) if not length else none
            if error < least:
                best, least = (float(angle), float(length)), error
    return *best, none > CLEAR * least


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--bundled", action="store_true", help="only the bundled network, without training")


def run(args: argparse.Namespace) -> list[Table]:
    _, held_out = load_material(args.data).split()
    draw = reblur_clips(held_out, SIDE, BlurRange(layered=0.0, compressed=0.0), torch.device("cpu"))
    blurred, sharp = draw(CLIPS, np.random.default_rng(SEED))
    middle = sharp[:, sharp.shape[1] // 2]
    true = [straight(*pair) for pair in zip(middle, blurred, strict=True)]
    clear = [index for index, (_, length, plain) in enumerate(true) if plain and length >= 4]
    numbers = {"reblur PSNR (dB)": ".2f", "over the sharp frame (dB)": "+.2f", "clips": "d"}
    table = Table("losses", {"losses": ""} | numbers | {"angle apart (degrees)": ".0f", "length": ".2f"})
    for name, options in {"bundled": {}}.items() if args.bundled else LOSSES.items():
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            if not args.bundled:
                train_network(
                    "reblur", data=args.data, out=out, network="videoadapt-small", minutes=args.minutes,
                    batch=4, crops=(128,), ring=256, rate=0.003, save_every=60, **options,
                )  # fmt: skip
            weights = "videoadapt-small" if args.bundled else out / "videoadapt-small.safetensors"
            network = load_network(weights, role="reblur").module
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            made = torch.cat([network(clip) for clip in sharp.split(4)]).float().clamp(0, 1)
        psnr, nothing = mean_psnr(made, blurred), mean_psnr(middle, blurred)
        apart, ratios = [], []
        for index in clear:
            angle, length, _ = straight(middle[index], made[index])
            turn = abs(angle - true[index][0]) % math.pi
            apart.append(math.degrees(min(turn, math.pi - turn)) if length else 90.0)
            ratios.append(length / true[index][1])
        table.add(name, psnr, psnr - nothing, len(clear), median(apart), median(ratios))
    return [table]
