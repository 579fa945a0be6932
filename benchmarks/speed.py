"""Seconds per frame at 1280x720: networks alone in fp32 and in the default precision, and the whole program.

What is compared is timed in turn, so that ratios hold on a noisy machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from benchmarks.clips import drifting
from benchmarks.results import Table
from deblurcli import deblur_video
from deblurcli.options.compute import ComputeOptions
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Worker

NETWORKS = {"single frame": "plain-unet", "video": "video-unet"}


def network_seconds(rounds: int = 7) -> dict[str, float]:
    """Median seconds per frame of a video by network and precision."""
    runs: dict[str, Restorer] = {}
    times: dict[str, list[float]] = {}
    for name, weights in NETWORKS.items():
        for dtype in ("fp32", "auto"):
            network = Worker(ComputeOptions(dtype=dtype)).place(weights, "video", "deblur")
            row = f"{name} network, {network.device}"
            runs[row], times[row] = Restorer(network.module, network.spec, network.device), []
    frames = list(torch.rand(rounds + 3, 3, 720, 1280))
    for start in range(rounds + 1):
        for row, run in runs.items():
            started = time.perf_counter()
            run(frames[start : start + run.window])
            times[row].append(time.perf_counter() - started)
    # In the first round all frames of a window are new; later, as in a video, one is.
    return {row: median(found[1:]) for row, found in times.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("frames", type=int, nargs="?", default=24, metavar="FRAMES", help="of the whole program's clip")


def run(options: argparse.Namespace) -> list[Table]:
    table = Table("1280x720", {"what": "", "seconds per frame": ".3f"})
    for row, seconds in network_seconds().items():
        table.add(row, seconds)
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "in.mp4"
        drifting(source, options.frames, (1280, 720))
        for name, weights in NETWORKS.items():
            facts = deblur_video(source, Path(work) / f"{name}.mp4", method="none", network=weights).facts
            table.add(f"whole program, {name} network, {options.frames} frames", facts["seconds"] / options.frames)
    return [table]
