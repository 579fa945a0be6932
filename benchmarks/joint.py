"""Whether joint training with the reblurring loss (ICLR 2022) beats L1 alone on blur without noise and compression.

RUN is the folder of a run of `deblur train deblur` or `deblur train joint`. Its network is measured on PAIRS, blurred
and sharp pictures that no run learnt from, as `deblur synth` lays them out, and on EVAL/gopro_stills. For the runs that
have a reblurring module the second table says why, on the middles of PAIRS: L is the restored picture, B the blurred
one, S the sharp one, M the module. "Taken back" is by how much M(L) is nearer to B than L is, "made of sharp pictures"
how far M moves S, against "made of restored ones", how far it moves L. If M does not tell L from S, |M(L) - M(S)| is
|L - S|, and the gradient that the network gets is that of L1: their "cosine" is 1. ``--modules`` judges other modules
on what the start restores.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from benchmarks.results import Table
from benchmarks.stills import SCORES, measured, pairs
from deblurcli.losses import l1
from deblurcli.media.images import read_image
from deblurcli.metrics.fidelity import psnr
from deblurcli.weights.load import load_network

REBLURRING = "reblurring-module"
SIDE = 256
"""Pixels of the middles that the modules are judged on."""


def synthesised(folder: Path) -> list[tuple[Path, Path]]:
    """Blurred and sharp pictures as `deblur synth` lays them out."""
    return [(path, folder / "sharp" / path.name) for path in sorted((folder / "blurred").glob("*.png"))]


def network_of(run: Path) -> Path:
    """The deblurring network of a run."""
    return next(path for path in sorted(run.glob("*.safetensors")) if path.stem != REBLURRING)


def middle(path: Path) -> Tensor:
    """1 x 3 x SIDE x SIDE in [0, 1]."""
    picture = read_image(path).rgb()
    y, x = ((size - SIDE) // 2 for size in picture.shape[-2:])
    return picture[None, :, y : y + SIDE, x : x + SIDE]


def judged(network: str, module: str, found: Sequence[tuple[Path, Path]]) -> list[float]:
    """What a module makes of restored pictures: the figures of the second table, means over the pictures."""
    deblur, reblur = load_network(network, role="deblur").module, load_network(module, role="reblur-image").module
    rows = []
    for blurred, sharp in (map(middle, pair) for pair in found):
        with torch.no_grad():
            restored, made_of_sharp = deblur(blurred), reblur(sharp)
        leaf = restored.clone().requires_grad_()
        reblurred = reblur(leaf)
        (slope,) = torch.autograd.grad(l1(reblurred, made_of_sharp), leaf)
        (plain,) = torch.autograd.grad(l1(leaf, sharp), leaf)
        reblurred = reblurred.detach()
        before, after = psnr(restored[0], blurred[0]), psnr(reblurred[0], blurred[0])
        moved, moved_sharp = (255 * float(l1(*pair)) for pair in ((reblurred, restored), (made_of_sharp, sharp)))
        alike = float(cosine_similarity(slope.flatten(), plain.flatten(), 0))
        rows.append((before, after - before, moved, moved_sharp, alike))
    return [fmean(column) for column in zip(*rows, strict=True)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("eval", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--start", default="plain-unet", help="weights that all runs start from")
    parser.add_argument("--modules", nargs="*", default=[], metavar="MODULE")
    parser.add_argument("--lpips", default="alex", metavar="FILE")


def run(options: argparse.Namespace) -> list[Table]:
    sets = {"held-out pairs": synthesised(options.pairs), "GoPro stills": pairs(options.eval / "gopro_stills")}
    networks = {"input": None, "start": options.start} | {run.name: str(network_of(run)) for run in options.runs}
    scores = Table("plain blur", {"pictures": "", "run": "", **dict(SCORES.values())})
    with tempfile.TemporaryDirectory() as work:
        for name, found in sets.items():
            for run, network in networks.items():
                scores.add(name, run, *measured(network, found, options.lpips, Path(work)))
    headings = {"restored against blurred (dB)": ".2f", "taken back (dB)": "+.2f"}
    headings |= dict.fromkeys(("made of restored ones (codes)", "made of sharp pictures (codes)", "cosine"), ".2f")
    modules = Table("modules on plain blur", {"run": "", "module": "", **headings})
    tried = [("start", options.start, Path(module).stem, module) for module in options.modules]
    for folder in options.runs:
        if (module := folder / f"{REBLURRING}.safetensors").exists():
            tried.append((folder.name, str(network_of(folder)), "its own", str(module)))
    for run, network, name, module in tried:
        modules.add(run, name, *judged(network, module, sets["held-out pairs"]))
    return [scores, *([modules] if tried else [])]
