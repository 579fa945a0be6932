"""Which frames `--only-blurred` leaves alone: what their edges gain, and what restoring them would bring.

Clips of all kinds of :mod:`benchmarks.cameras` with exact truth are restored by the unadapted network. Each frame's
gain of edges (:mod:`deblurcli.restore.fading`) stands beside the PSNR of the frame as it is and restored. Frames are
grouped by the PSNR of the input, so that the first rows are blurred or noisy, the last ones sharp. Fading, which gives
sharp frames beside blurred ones a share of their change, is left out.

DATA is the folder of training material: photos that training keeps for validation are filmed.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks.cameras import HALVES, make
from benchmarks.families import pictures
from benchmarks.results import Table
from deblurcli.media.shots import windows
from deblurcli.metrics.fidelity import psnr
from deblurcli.options.compute import ComputeOptions
from deblurcli.restore.fading import PARTLY, SHARP_BELOW, gain_of
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Worker

FRAMES, SIZE = 9, (256, 192)
BANDS = ((0, 25), (25, 30), (30, 35), (35, 40), (40, 200))
"""PSNR of the input in dB."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of training material")
    parser.add_argument("--network", default="default", help="weights")


def run(args: argparse.Namespace) -> list[Table]:
    network = Worker(ComputeOptions(dtype="fp32")).place(args.network, "video", "deblur")
    restorer = Restorer(network.module, network.spec, network.device, "auto")
    frames: list[tuple[float, float, float]] = []
    for half, clips in HALVES.items():
        photos = pictures(args.data, None, half)
        for seed, clip in enumerate(one for one in clips if one.maker != "shake"):
            photo, other = photos[seed % len(photos)], photos[(seed + 1) % len(photos)]
            blurred, sharp = make(replace(clip, size=SIZE), photo, other, FRAMES, seed, None)
            shown = windows([frame / 255 for frame in blurred], restorer.window, starts_shot=lambda _: False)
            for (picture, around), truth in zip(shown, [frame / 255 for frame in sharp], strict=True):
                change = restorer(around) - picture
                after = psnr((picture + change).clamp(0, 1), truth)
                frames.append((psnr(picture, truth), after, gain_of(picture, change)))
            print(f"{clip.family}, {clip.kind}: {len(frames)} frames so far", flush=True)
    columns = {"input, dB": "", "frames": "d", "gain, 10 %": ".2f", "median": ".2f", "90 %": ".2f"}
    columns |= {"left alone, %": ".0f", "restored whole, %": ".0f"}
    table = Table("frames", columns | {"left alone: restoring brings, dB": "+.2f", "others, dB": "+.2f"})
    for low, high in BANDS:
        band = [frame for frame in frames if low <= frame[0] < high]
        if not band:
            continue
        gains = np.array([gain for _, _, gain in band])
        alone = [after - before for before, after, gain in band if gain < SHARP_BELOW]
        others = [after - before for before, after, gain in band if gain >= SHARP_BELOW]
        name = f"{low} to {high}" if high < 100 else f"from {low}"
        whole = 100 * float((gains >= SHARP_BELOW + PARTLY).mean())
        table.add(
            name, len(band), *map(float, np.quantile(gains, (0.1, 0.5, 0.9))), 100 * len(alone) / len(band), whole,
            fmean(alone) if alone else None, fmean(others) if others else None,
        )  # fmt: skip
    return [table]
