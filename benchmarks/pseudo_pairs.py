"""The meta-transferring paper's figure 6 in small: fine-tuning beside meta-testing, by the number of pseudo pairs.

Adapts the default network to clips of benchmarks/cameras.py whose kinds nothing was tuned by (DATA: the folder of
training material, whose held-out photos are filmed), without a guard: from its own weights (fine-tuning) and from
meta-learned ones (--initial, of `deblur train meta`), on 5 to 40 pseudo pairs, with an update for each. What is done
is kept in a file, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean

from benchmarks.families import done, pictures, psnr, trial
from benchmarks.reblur2deblur import CLIPS, filmed
from benchmarks.results import FOLDER, Table
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.meta import MetaOptions
from deblurcli.restore.worker import Worker
from deblurcli.version import __version__

PAIRS = (5, 10, 20, 40)
OWN, META = "fine-tuning", "meta-testing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path)
    parser.add_argument("--initial", type=Path, required=True, metavar="FILE", help="meta-learned weights")
    parser.add_argument("--reblurring", choices=("flow", "network"), default="flow")
    parser.add_argument("--clips", type=int, default=len(CLIPS), help="clips that are adapted to")
    parser.add_argument("--frames", type=int, default=24, help="of a clip")
    parser.add_argument("--state", type=Path, default=FOLDER / "pseudo_pairs.jsonl", help="what is done so far")


def run(args: argparse.Namespace) -> list[Table]:
    worker = Worker(ComputeOptions())
    network = worker.place("default", "video", "deblur")
    sha256 = worker.place(str(args.initial), "meta", "deblur").sha256
    of_run = {"version": __version__, "reblurring": args.reblurring, "network": network.sha256, "initial": sha256}
    rows = [row for row in done(args.state) if of_run.items() <= row.items()]
    finished = {(row["clip"], row["start"], row["pairs"]): row["gain"] for row in rows}
    args.state.parent.mkdir(parents=True, exist_ok=True)
    starts = {OWN: "own", META: str(args.initial)}
    for clip, (blurred, sharp) in filmed(pictures(args.data, None, "judged"), args.clips, args.frames).items():
        missing = [(start, count) for start in starts for count in PAIRS if (clip, start, count) not in finished]
        before = psnr(network, network.module, blurred, sharp) if missing else 0.0
        for start, count in missing:
            options = MetaOptions(
                reblurring=args.reblurring, initial=starts[start], patches=count, steps=str(count), guard="off"
            )
            gain = trial(network, worker, (options,), blurred, sharp, before)["gain"]
            finished[clip, start, count] = gain
            with args.state.open("a", encoding="utf-8") as file:
                print(json.dumps(of_run | {"clip": clip, "start": start, "pairs": count, "gain": gain}), file=file)
    clips = dict.fromkeys(clip for clip, _, _ in finished)
    columns = {
        "pairs, updates": "d",
        OWN: "+.3f",
        META: "+.3f",
        f"least, {OWN}": "+.3f",
        f"least, {META}": "+.3f",
    }
    table = Table(f"{args.reblurring}: mean gain (dB)", columns)
    for count in PAIRS:
        gains = [[finished[clip, start, count] for clip in clips] for start in starts]
        table.add(count, *map(fmean, gains), *map(min, gains))
    by_clip = Table(
        f"{args.reblurring}: gain by clip (dB)", {"clip": "", "pairs, updates": "d", OWN: "+.3f", META: "+.3f"}
    )
    for clip in clips:
        for count in PAIRS:
            by_clip.add(clip, count, *(finished[clip, start, count] for start in starts))
    return [table, by_clip]
