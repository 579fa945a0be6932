"""What test-time adaptation does to the development stills, step by step, and what it costs.

EVAL holds gopro_stills/X.png with X_gt.png. Both take --pixels and --rate, that is `--tta-pixels` and `--rate`. LPIPS
is measured where its weights are on this machine, or with those of FILE. --cost times what `deblur image` does to a
picture of 1280x720 with 5 steps, and a forward pass of the same network, in turn, so that the ratio holds on a noisy
machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.results import Table
from benchmarks.stills import SCORES, pairs
from deblurcli import deblur_image, measure
from deblurcli.methods.tta import Adapter, EachPicture
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.tta import TtaOptions
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Worker

STEPS = (0, 1, 3, 5, 10, 20)
ROUNDS = 5


def quality(folder: Path, steps: list[int], lpips: str, options: dict[str, Any]) -> Table:
    """A row for each number of steps: means over the stills, and of how many pairs NIQE is better than without."""
    rows: dict[int, list[dict[str, float]]] = {count: [] for count in steps}
    with tempfile.TemporaryDirectory() as work:
        out = Path(work) / "out.png"
        for blurred, reference in pairs(folder):
            for count, found in rows.items():
                deblur_image(blurred, out, overwrite=True, tta_steps=count, **options)
                found.append(measure(out, reference, niqe=True, lpips=lpips))
                print(f"{blurred.name}, {count} steps: {found[-1]}", file=sys.stderr)
    shown = {name: column for name, column in SCORES.items() if name in rows[steps[0]][0]}
    table = Table("steps", {"steps": "d", **dict(shown.values()), "NIQE better": ""})
    for count, found in rows.items():
        better = sum(row["niqe"] < before["niqe"] for row, before in zip(found, rows[steps[0]], strict=True))
        table.add(count, *(fmean(row[name] for row in found) for name in shown), f"{better} of {len(found)}")
    return table


def cost(weights: str, reblur: str, pixels: int) -> Table:
    """Seconds of a forward pass, and of all that adapting and restoring a picture takes."""
    worker = Worker(ComputeOptions())
    network, module_r = worker.place(weights, "image", "deblur"), worker.place(reblur, "tta", "reblur-image")
    coarse = torch.rand(1, 3, 90, 160, generator=torch.Generator().manual_seed(1))
    picture = F.interpolate(coarse, (720, 1280), mode="bicubic")[0].clamp(0, 1)
    options = TtaOptions(steps=5, tta_pixels=pixels, adapt_per="frame")
    plain = Restorer(network.module, network.spec, network.device)
    times: dict[str, list[float]] = {"forward pass": [], "5 steps": []}
    for number in range(ROUNDS + 1):
        for name, found in times.items():
            # `deblur image` makes a new one for each picture.
            started = time.perf_counter()
            if name == "forward pass":
                plain([picture.clone()] * plain.window)
            else:
                adapter = Adapter(network, module_r, options)
                EachPicture(adapter, "the picture")([picture] * plain.window)
            found.append(time.perf_counter() - started)
        if number:
            print({name: round(found[-1], 3) for name, found in times.items()}, file=sys.stderr)
    forward, adapted = (median(found[1:]) for found in times.values())
    numbers = {"forward pass (s)": ".3f", "with 5 steps (s)": ".2f", "forward passes": ".1f"}
    table = Table("cost", {"picture": ""} | numbers)
    table.add(f"1280x720, {network.name}, {network.device}", forward, adapted, adapted / forward)
    return table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("eval", nargs="?", type=Path)
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--network", default="default")
    parser.add_argument("--reblur", default="default")
    parser.add_argument("--steps", type=int, nargs="+", default=list(STEPS))
    parser.add_argument("--lpips", default="auto")
    parser.add_argument("--pixels", type=int, default=TtaOptions.tta_pixels)
    parser.add_argument("--rate", type=float, default=TtaOptions.rate)


def run(given: argparse.Namespace) -> list[Table]:
    tables = []
    if given.cost:
        tables.append(cost(given.network, given.reblur, given.pixels))
    if given.eval:
        chosen = {"network": given.network, "tta_reblur": given.reblur}
        chosen |= {"tta_pixels": given.pixels, "rate": given.rate}
        tables.append(quality(given.eval / "gopro_stills", given.steps, given.lpips, chosen))
    return tables
