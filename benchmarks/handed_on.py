"""What it gains that each restored frame of a video is handed on to the next one.

The clips, their halves and the arguments are those of `families`. Each clip is restored by the network whose windows
see frames as they are restored alone, and by the one whose windows see what became of the frame before
(:class:`deblurcli.restore.tiles.Restorer`). Scored are all frames: the mean and the least gain of a frame, the gain of
the last eight of each sixteen, where most has been handed on, and flicker. What is done is kept in a file, and the same
command goes on from there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from benchmarks.cameras import Clip, Frames
from benchmarks.families import add_clips, done, made_clips
from benchmarks.lucky import flicker, restored
from benchmarks.results import Table
from deblurcli.media.shots import windows
from deblurcli.metrics import fidelity
from deblurcli.options.compute import ComputeOptions
from deblurcli.restore.tiles import RESTART, Restorer
from deblurcli.restore.worker import Placed, Worker
from deblurcli.version import __version__


def each_alone(network: Placed, blurred: Frames) -> list[Tensor]:
    """The frames as windows of frames that are restored alone."""
    restorer, found = Restorer(network.module, network.spec, network.device), []
    for _, window in windows([frame / 255 for frame in blurred], restorer.window, lambda _: False):
        restorer.restart()
        found.append(restorer(window))
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_clips(parser, "handed_on", 28)
    parser.add_argument("--network", nargs="+", default=["default"], help="first that of frames alone, then the others")


def run(args: argparse.Namespace) -> list[Table]:
    torch.set_grad_enabled(False)
    networks = [Worker(ComputeOptions()).place(name, "video", "deblur") for name in args.network]
    finished = {(row["half"], row["family"], row["kind"]) for row in done(args.state)}
    args.state.parent.mkdir(parents=True, exist_ok=True)

    def wanted(_: int, clip: Clip) -> bool:
        return (args.half, clip.family, clip.kind) not in finished

    for clip, blurred, sharp in made_clips(args, wanted):
        truth = [frame / 255 for frame in sharp]
        results = [each_alone(networks[0], blurred), *(restored(network, blurred) for network in networks)]
        scores = [[fidelity.psnr(*pair) for pair in zip(frames, truth, strict=True)] for frames in results]
        gains = [[new - old for old, new in zip(scores[0], scored, strict=True)] for scored in scores[1:]]
        row: dict[str, Any] = {
            "version": __version__,
            "half": args.half,
            "family": clip.family,
            "kind": clip.kind,
            "alone": fmean(scores[0]),
            "gain": [fmean(gain) for gain in gains],
            "late": [fmean(gain[at] for at in range(len(gain)) if at % RESTART >= RESTART / 2) for gain in gains],
            "least": [min(gain) for gain in gains],
            "flicker": flicker(results, truth),
        }
        with args.state.open("a", encoding="utf-8") as file:
            print(json.dumps(row), file=file, flush=True)
    return [
        table(args.half, name, at, [row for row in done(args.state) if row["half"] == args.half])
        for at, name in enumerate(args.network)
    ]


def table(half: str, network: str, at: int, rows: list[dict[str, Any]]) -> Table:
    found = Table(
        f"{half}: gain (dB)" + ("" if network == "default" else f", {Path(network).stem}"),
        {
            "family": "",
            "clip": "",
            "each frame alone (dB)": ".2f",
            "handed on": "+.2f",
            "where most is": "+.2f",
            "least frame": "+.2f",
            "flicker of the truth": ".2f",
            "alone": ".2f",
            "handed on ": ".2f",
        },
    )
    figures = []
    for row in rows:
        truth, alone, *others = row["flicker"]
        mine = [row["alone"], *(row[key][at] for key in ("gain", "late", "least")), truth, alone, others[at]]
        found.add(row["family"], row["kind"], *mine)
        figures.append(mine)
    if figures:
        columns = list(zip(*figures, strict=True))
        means = [fmean(column) for column in columns]
        found.add("all", f"{len(rows)} clips", *means[:3], min(columns[3]), *means[4:])
    return found
