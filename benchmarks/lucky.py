"""What detail from sharper frames of a shot adds to restored ones, on clips of many kinds with exact truth.

The clips, their halves and the arguments are those of `families`. Each clip is restored by the network alone; then its
frames take detail from sharper ones (:mod:`deblurcli.restore.lucky`). Scored are all frames: the mean and the least
gain of a frame, and flicker. Every clip takes about half a minute; what is done is kept in a file, and the same command
goes on from there.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from benchmarks.cameras import Clip, Frames
from benchmarks.families import add_clips, done, made_clips
from benchmarks.results import Table
from deblurcli.metrics import fidelity
from deblurcli.metrics.flicker import warping_errors
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.video import LUCKY_FRAMES
from deblurcli.restore.lucky import LuckyFrames
from deblurcli.restore.pipeline import windows_for
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Placed, Worker
from deblurcli.version import __version__


def restored(network: Placed, blurred: Frames) -> list[Tensor]:
    restorer = Restorer(network.module, network.spec, network.device)
    found = windows_for(restorer, [frame / 255 for frame in blurred], lambda _: False)
    return [restorer(window) for _, window in found]


def improved(frames: list[Tensor], reach: int) -> list[Tensor]:
    stage: LuckyFrames[Tensor] = LuckyFrames(reach)
    found = [pair for frame in frames for pair in stage.add(frame, frame, False)] + stage.rest()
    return [frame if gain is None else (frame + gain).clamp(0, 1) for frame, gain in found]


def flicker(videos: list[list[Tensor]], truth: list[Tensor]) -> list[float]:
    """Of the truth and of each video, as `deblur metrics` measures it."""
    videos = [truth, *videos]
    found = [
        warping_errors([(video[at - 1], video[at]) for video in videos], (truth[at - 1], truth[at]))
        for at in range(1, len(truth))
    ]
    return [fmean(errors) ** 0.5 for errors in zip(*found, strict=True)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_clips(parser, "lucky", 28)
    parser.add_argument("--reach", type=int, default=LUCKY_FRAMES)


def run(args: argparse.Namespace) -> list[Table]:
    torch.set_grad_enabled(False)
    network = Worker(ComputeOptions()).place("default", "video", "deblur")
    finished = {(row["half"], row["family"], row["kind"]) for row in done(args.state)}
    args.state.parent.mkdir(parents=True, exist_ok=True)

    def wanted(_: int, clip: Clip) -> bool:
        return (args.half, clip.family, clip.kind) not in finished

    for clip, blurred, sharp in made_clips(args, wanted):
        started = time.monotonic()
        before = restored(network, blurred)
        between = time.monotonic()
        after = improved(before, args.reach)
        ended = time.monotonic()
        truth = [frame / 255 for frame in sharp]
        scores = [[fidelity.psnr(*pair) for pair in zip(frames, truth, strict=True)] for frames in (before, after)]
        row: dict[str, Any] = {
            "version": __version__,
            "half": args.half,
            "family": clip.family,
            "kind": clip.kind,
            "before": fmean(scores[0]),
            "after": fmean(scores[1]),
            "least": min(new - old for old, new in zip(*scores, strict=True)),
            "flicker": flicker([before, after], truth),
            "time": (ended - between) / (between - started),
        }
        with args.state.open("a", encoding="utf-8") as file:
            print(json.dumps(row), file=file, flush=True)
    return [table(args.half, [row for row in done(args.state) if row["half"] == args.half])]


def table(half: str, rows: list[dict[str, Any]]) -> Table:
    found = Table(
        f"{half}: gain (dB)",
        {
            "family": "",
            "clip": "",
            "restored (dB)": ".2f",
            "gain": "+.2f",
            "least frame": "+.2f",
            "flicker of the truth": ".2f",
            "restored": ".2f",
            "with detail": ".2f",
            "time, of restoring": ".2f",
        },
    )
    for row in rows:
        gain = row["after"] - row["before"]
        found.add(row["family"], row["kind"], row["before"], gain, row["least"], *row["flicker"], row["time"])
    gains = [row["after"] - row["before"] for row in rows]
    means = [fmean(row["flicker"][at] for row in rows) for at in range(3)]
    least, times = min(row["least"] for row in rows), fmean(row["time"] for row in rows)
    found.add("all", f"{len(rows)} clips", fmean(row["before"] for row in rows), fmean(gains), least, *means, times)
    return found
