"""How far flow estimates are off, on pairs of frames whose exact flow is known.

Scenes of held-out photos and cut-outs move as camera and layer do; the same pairs are given sharp, blurred, and with a
third of the blur, as after deblurring, all with their noise and compression. Reported is the mean end-point error in
pixels over what the second frame shows, too, by the length of the true motion, and the time of one pair.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.results import Table
from deblurcli.adaptation.flow_estimate import Flow, flow_of
from deblurcli.adaptation.reblurring_flow import inside
from deblurcli.options.compute import ComputeOptions
from deblurcli.restore.worker import Worker
from deblurcli.synth.flow_pairs import RANGES, FlowPairs, render_pairs
from deblurcli.train.data import draw_scenes
from deblurcli.train.material import load_material

PAIRS, GROUP, SIDE, SEED = 72, 6, 256, 79
BLUR = {"sharp": 0.0, "a third of the blur": 1 / 3, "blurred": 1.0}
LENGTHS = {"< 2 pixels": (0.0, 2.0), "2 to 8": (2.0, 8.0), "8 to 32": (8.0, 32.0)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path)
    parser.add_argument("--flow", action="append", default=[], help="weights of another flow network, a name or a file")
    parser.add_argument("--pairs", type=int, default=PAIRS)


def estimated(flow: Flow, frames: Tensor) -> tuple[Tensor, float]:
    """The flow of pairs (N x 2 x 3 x H x W), one after the other, and the seconds that the fastest took."""
    found, seconds = [], []
    with torch.no_grad():
        for pair in frames.split(1):
            began = time.perf_counter()
            found.append(flow(pair[:, 0], pair[:, 1]))
            seconds.append(time.perf_counter() - began)
    return torch.cat(found), min(seconds)


def errors(found: Tensor, pairs: Sequence[FlowPairs]) -> list[float]:
    """Mean end-point errors: of everything, and by length of the true motion."""
    true = torch.cat([p.flow for p in pairs])
    apart, length, seen = (found - true).norm(dim=1), true.norm(dim=1), inside(true)[:, 0]
    within = [seen & (length >= low) & (length < high) for low, high in LENGTHS.values()]
    return [float(apart[mask].mean()) for mask in (seen, *within)]


def run(args: argparse.Namespace) -> list[Table]:
    _, held_out = load_material(args.data).split()
    rng, where = np.random.default_rng(SEED), torch.device("cpu")
    groups = (draw_scenes(held_out, GROUP, SIDE, RANGES, rng, where) for _ in range(args.pairs // GROUP))
    pairs = [render_pairs(scenes, SIDE, rng) for scenes in groups]
    worker = Worker(ComputeOptions(device="cpu"))
    flows = [flow_of(name, worker) for name in ("default", *args.flow, "dis", "dense")]
    columns = {"frames": "", "flow": ""} | dict.fromkeys(("all", *LENGTHS), ".2f")
    table = Table("end-point errors", {**columns, "time (ms)": ".0f"})
    for name, share in BLUR.items():
        grain = np.random.default_rng(SEED)
        frames = torch.cat([p.seen(torch.full((GROUP, 2), share), grain) for p in pairs])
        for flow in flows:
            found, seconds = estimated(flow, frames)
            table.add(name, flow.name, *errors(found, pairs), 1000 * seconds)
        still = errors(torch.zeros(len(frames), 2, SIDE, SIDE), pairs)
        table.add(name, "no motion", *still, None)
    return [table]
