"""The meta method on videos from cameras that the networks were not trained for, variant by variant.

DATA is the folder of training material; photos that training keeps for validation are shaken by hand with blur, camera
response outside of the training ranges, and noise that is rare there. Reported: PSNR of the blurred video and of the
unadapted network, and what each variant adds to the latter, with the guard on. With --signals instead: how well signals
that need no sharp original tell the true gain of unguarded adaptations. These are the loss on held-out pseudo pairs,
agreement with the aligned sharp neighbours (what the guard goes by), the same on held-out patches alone, and reblur
consistency: how well the restored sharp moment explains the blurred one.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.results import Table
from deblurcli import metrics
from deblurcli.adaptation import guard
from deblurcli.adaptation.agreement import Agreement
from deblurcli.adaptation.camera import QUARTERS, SAMPLES, Alignment, align
from deblurcli.adaptation.guard import Diverged
from deblurcli.adaptation.pairs import restore_clips
from deblurcli.adaptation.survey import HELD_OUT, Survey, survey
from deblurcli.console import Reporter
from deblurcli.media.images import read_image
from deblurcli.media.shots import windows
from deblurcli.methods.meta import adapt, initial_weights
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.meta import MetaOptions
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Placed, Worker
from deblurcli.synth.exposure import expose_paths
from deblurcli.synth.pairs import MARGIN, shaken

VIDEOS: dict[str, dict[str, float]] = {
    "boofcv_triple_bobcats_01": {"blur": 26, "gamma": 1.0, "noise": 0.020},
    "lomiri_aitzgorri_by_Aitzol_Berasategi": {"blur": 22, "gamma": 3.2, "noise": 0.030},
    "budgie_casa-mila": {"blur": 16, "gamma": 4.0, "noise": 0.025},
    "opensfm_lund_22": {"blur": 30, "gamma": 3.0, "noise": 0.018},
    "plasma_ColorfulCups": {"blur": 20, "gamma": 0.6, "noise": 0.035},
    "startbootstrap_landing-page_bg-showcase-1": {"blur": 50, "gamma": 3.5, "noise": 0.015},
}
"""Training draws exponents of 1 or about 2.2, half of the paths shorter than 11 pixels, and noise up to 0.03,
mostly far less: one scene in seven has more than 0.015."""

HEIGHT, WIDTH = 448, 640
"""Pixels of the photo's middle that are taken, before the margin is cut off."""

COUNTS = (5, 10, 20, 40)
"""Pseudo pairs, M."""
VARIANTS: dict[str, dict[str, Any]] = {
    "network: cycle only": {"reblurring": "network", "cycle_weight": 1.0},
    "network: GAN only": {"reblurring": "network", "cycle_weight": 0.0},
    "network: both (paper)": {"reblurring": "network"},
    "network: cycle only, no guard": {"reblurring": "network", "cycle_weight": 1.0, "guard": "off"},
    "network: GAN only, no guard": {"reblurring": "network", "cycle_weight": 0.0, "guard": "off"},
    "network: both, no guard": {"reblurring": "network", "guard": "off"},
    **{f"camera, own weights, M = {count}": {"patches": count, "initial": "own"} for count in COUNTS},
    **{f"camera, M = {count}": {"patches": count} for count in COUNTS},
    "camera, M = 40, guard by pairs": {"patches": 40, "guard": "pairs"},
    "camera, M = 40, no guard": {"patches": 40, "guard": "off"},
    "camera, patches as they are": {"pseudo_sharp": "video"},
    "camera, 2 patches a step": {"batch": 2, "steps": 40},
    "camera, weighted by contrast": {"weighting": "contrast"},
    "camera, biases only, rate 3e-4": {"part": "biases", "rate": 3e-4},
    "camera, rate 1e-3 (too fast)": {"rate": 1e-3},
}


def shake(photo: Path, index: int, frames: int) -> tuple[list[Tensor], list[Tensor]]:
    """Blurred and sharp frames, 8-bit values."""
    picture = read_image(photo).rgb()
    top, left = (max(0, side - most) // 2 for side, most in zip(picture.shape[1:], (HEIGHT, WIDTH), strict=True))
    piece = picture[:, top : top + HEIGHT, left : left + WIDTH]
    piece = piece[:, :, : 2 * MARGIN + (piece.shape[2] - 2 * MARGIN) // 32 * 32]
    options = VIDEOS[photo.stem]
    pairs = islice(shaken(piece, frames, 25, seed=index, **options), frames)
    blurred, sharp = zip(*pairs, strict=True)
    return [metrics.rounded(p) / 255 for p in blurred], [metrics.rounded(p) / 255 for p in sharp]


def psnr(restorer: Restorer, blurred: list[Tensor], sharp: list[Tensor]) -> float:
    """Mean over every other frame."""
    found = windows(blurred, restorer.window, lambda _: False)
    return fmean(
        metrics.psnr(restorer(window), target)
        for index, ((_, window), target) in enumerate(zip(found, sharp, strict=True))
        if index % 2
    )


class Signals:
    """What can be told of a network without a sharp original."""

    NAMES = ("held-out pseudo pairs", "agreement", "agreement, held-out patches", "consistency")

    def __init__(self, found: Survey, network: Placed) -> None:
        self.device, self.spec = network.device, network.spec
        self.aligned = align(found.patches, self.device.where)
        kept_out = torch.zeros_like(self.aligned.explained)
        kept_out[-QUARTERS * HELD_OUT :] = True
        chosen = self.aligned.explained & kept_out
        few = Alignment(self.aligned.moments, self.aligned.response, self.aligned.paths, chosen)
        self.agreements = [Agreement(self.aligned)] + ([Agreement(few)] if chosen.any() else [])
        self.before = self._measured(network.module)

    @torch.no_grad()
    def _restored(self, network: nn.Module, pictures: Tensor) -> Tensor:
        with self.device.autocast():
            return network.get_submodule(self.spec.alone)(pictures).float().clamp(0, 1)

    @torch.no_grad()
    def _measured(self, network: nn.Module) -> list[float]:
        agreed = [a.loss(lambda clips: restore_clips(network, self.spec, clips, self.device)) for a in self.agreements]
        found = [-10 * float(np.log10(loss)) for loss in agreed]
        return found + [float("nan")] * (2 - len(found)) + [self._consistency(network)]

    def _consistency(self, network: nn.Module) -> float:
        """PSNR of the blurred pieces against the restored sharp moment, exposed along its path."""
        moments, response = self.aligned.moments, self.aligned.response
        light = response.linear(self._restored(network, moments.sharp)).repeat_interleave(QUARTERS, 0)
        seen = response.display(expose_paths(light, self.aligned.paths, SAMPLES, moments.size))
        apart = (seen - moments.pieces)[self.aligned.explained][..., 16:-16, 16:-16]
        return float(-10 * apart.square().mean((1, 2, 3)).log10().mean())

    def gains(self, network: nn.Module) -> list[float]:
        """Over the unadapted network, in dB; NaN where nothing could be aligned."""
        return [after - before for after, before in zip(self._measured(network), self.before, strict=True)]


def rank_correlation(one: list[float], other: list[float]) -> float:
    """Spearman's, over the pairs without NaN."""
    pairs = np.array([pair for pair in zip(one, other, strict=True) if not np.isnan(pair).any()])
    one_rank, other_rank = pairs.argsort(0).argsort(0).T
    return float(np.corrcoef(one_rank, other_rank)[0, 1])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path)
    parser.add_argument("--network", default="default")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--signals", action="store_true")


def run(args: argparse.Namespace) -> list[Table]:
    worker = Worker(ComputeOptions())
    network = worker.place(args.network, "video", "deblur")
    learnt = {"reblur": worker.place("default", "meta", "reblur"), "critic": worker.place("default", "meta", "critic")}
    if args.signals:
        guard.MIN_GAIN["pairs"] = float("-inf")
    photos = {path.stem: path for path in sorted((args.data / "photos").iterdir())}
    rows: dict[str, list[float]] = {name: [] for name in args.only}
    seconds: dict[str, list[float]] = {name: [] for name in args.only}
    before: list[tuple[float, float]] = []
    trials: list[tuple[float, ...]] = []
    for index, name in enumerate(VIDEOS):
        blurred, sharp = shake(photos[name], index, args.frames)
        unadapted = psnr(Restorer(network.module, network.spec, network.device), blurred, sharp)
        before.append((fmean(map(metrics.psnr, blurred[1::2], sharp[1::2])), unadapted))
        for variant in args.only:
            options = MetaOptions(**VARIANTS[variant] | ({"guard": "pairs"} if args.signals else {}))
            found = survey(blurred, patches=options.patches + HELD_OUT, size=options.patch_size, seed=options.seed)
            used = dict(learnt) if options.reblurring == "network" else {}
            if initial := initial_weights(network, options, worker):
                used["initial"] = initial
            modules = {name: placed.module for name, placed in used.items()}
            started = time.perf_counter()
            adapted, done = adapt(network, found, options, Reporter.silent(), **modules)
            seconds[variant].append(time.perf_counter() - started)
            restorer = Restorer(adapted, network.spec, network.device)
            gain = psnr(restorer, blurred, sharp) - unadapted if done.kept else 0.0
            rows[variant].append(gain)
            fallen = 1 - done.facts["loss_after"] / done.facts["loss_before"]
            line = f"{name}, {variant}: {gain:+.3f} dB, loss {-fallen:+.2%}, {done.reason}"
            if args.signals and done.kept:
                try:
                    told = Signals(found, network).gains(adapted)
                except Diverged as error:
                    line += f"; {error}"
                else:
                    trials.append((gain, fallen, *told))
                    line += "".join(f"; {n} {v:+.3f} dB" for n, v in zip(Signals.NAMES[1:], told, strict=True))
            print(line, flush=True)
    if args.signals:
        gains, *columns = (list(column) for column in zip(*trials, strict=True))
        table = Table("signals", {"signal": "", "correlation": "+.2f"})
        for title, signal in zip(Signals.NAMES, columns, strict=True):
            table.add(title, rank_correlation(signal, gains))
        return [table]
    videos = [f"video {i + 1}" for i in range(len(VIDEOS))]
    inputs = Table("inputs", {"what": ""} | dict.fromkeys((*videos, "mean"), ".2f"))
    for title, values in zip(("blurred (dB)", "unadapted (dB)"), zip(*before, strict=True), strict=True):
        inputs.add(title, *values, fmean(values))
    numbers = dict.fromkeys(videos, "+.2f") | dict.fromkeys(("mean", "least"), "+.3f")
    table = Table("gains (dB)", {"variant": ""} | numbers | {"time (s)": ".0f"})
    for variant, gains in rows.items():
        table.add(variant, *gains, fmean(gains), min(gains), fmean(seconds[variant]))
    return [inputs, table]
