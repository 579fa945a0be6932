"""The meta method on videos from cameras that the networks were not trained for, variant by variant.

    python benchmarks/adaptation.py DATA [--network NAME|FILE] [--only VARIANT ...] [--frames N] [--signals]

DATA is the folder of training material; photos that training keeps for validation are shaken by hand with blur, camera
response and noise outside of the training ranges. Reported: PSNR of the blurred video and of the unadapted network, and
what each variant adds to the latter, with the guard on. With --signals also how well three signals that need no sharp
original tell the true gain (without guard): the loss on held-out pseudo pairs, which the guard goes by; agreement with
the aligned sharp neighbours; and reblur consistency, how well the restored sharp moment explains the blurred one.
"""

import argparse
import time
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli import metrics
from deblurcli.adapt import guard
from deblurcli.adapt.camera import KNOTS, QUARTERS, SAMPLES, descend, expose, find_moments
from deblurcli.adapt.meta import HELD_OUT, adapt
from deblurcli.adapt.survey import Survey, survey
from deblurcli.device import pick_device
from deblurcli.media.images import read_image
from deblurcli.options import AdaptOptions
from deblurcli.report import Reporter
from deblurcli.restore.shots import windows
from deblurcli.restore.tiles import Restorer
from deblurcli.synth.pairs import MARGIN, shaken
from deblurcli.weights.load import LoadedNetwork, load_chosen

VIDEOS: dict[str, dict[str, float]] = {
    "boofcv_triple_bobcats_01": {"blur": 26, "gamma": 1.0, "noise": 0.020},
    "lomiri_aitzgorri_by_Aitzol_Berasategi": {"blur": 22, "gamma": 3.2, "noise": 0.030},
    "budgie_casa-mila": {"blur": 16, "gamma": 4.0, "noise": 0.025},
    "opensfm_lund_22": {"blur": 30, "gamma": 3.0, "noise": 0.018},
    "plasma_ColorfulCups": {"blur": 20, "gamma": 0.6, "noise": 0.035},
    "startbootstrap_landing-page_bg-showcase-1": {"blur": 50, "gamma": 3.5, "noise": 0.015},
}
"""Training draws exponents of 1 or about 2.2, noise up to 0.012, and half of the paths shorter than 11 pixels."""

HEIGHT, WIDTH = 448, 640
"""Pixels of the photo's middle that are taken, before the margin is cut off."""

VARIANTS: dict[str, dict[str, Any]] = {
    "network: cycle only": {"reblurring": "network", "cycle_weight": 1.0},
    "network: GAN only": {"reblurring": "network", "cycle_weight": 0.0},
    "network: both (paper)": {"reblurring": "network"},
    "camera, M = 5": {"patches": 5},
    "camera, M = 10": {"patches": 10},
    "camera, M = 20 (default)": {},
    "camera, M = 40": {"patches": 40},
    "camera, 2 patches a step": {"batch": 2, "steps": 40},
    "camera, weighted by contrast": {"weighting": "contrast"},
    "camera, biases only, rate 3e-4": {"part": "biases", "deblur_rate": 3e-4},
    "camera, rate 1e-3 (too fast)": {"deblur_rate": 1e-3},
}


def shake(photo: Path, index: int, frames: int) -> tuple[list[Tensor], list[Tensor]]:
    """Blurred and sharp frames, 8-bit values."""
    picture = read_image(photo).rgb()
    top, left = (max(0, side - most) // 2 for side, most in zip(picture.shape[1:], (HEIGHT, WIDTH), strict=True))
    piece = picture[:, top : top + HEIGHT, left : left + WIDTH]
    piece = piece[:, :, : 2 * MARGIN + (piece.shape[2] - 2 * MARGIN) // 32 * 32]
    options = VIDEOS[photo.stem]
    pairs = islice(shaken(piece, frames, 25, seed=index, **options), frames)  # type: ignore[arg-type]
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
    """What can be told of a network without a sharp original, on patches that nothing was learnt from."""

    def __init__(self, found: Survey, network: LoadedNetwork, base: nn.Module) -> None:
        self.device = pick_device()
        self.alone = network.spec.alone
        moments = find_moments(found.patches, self.device.where)
        self.response, self.paths, explained = descend(moments)
        chosen = torch.zeros_like(explained)
        chosen[-QUARTERS * HELD_OUT :] = True
        self.moments, self.chosen = moments, explained & chosen
        self.agreed, self.consistent = self._agreement(base), self._consistency(base)

    @torch.no_grad()
    def _restored(self, network: nn.Module, pictures: Tensor) -> Tensor:
        with self.device.autocast():
            return network.get_submodule(self.alone)(pictures).float().clamp(0, 1)

    def _agreement(self, network: nn.Module) -> float:
        """PSNR of the restored blurred pieces against the sharp moment, where the middle of the path puts it."""
        if not self.chosen.any():
            return float("nan")
        middle = self.paths[:, KNOTS // 2 : KNOTS // 2 + 1].expand(-1, KNOTS, -1)
        sharp = self.moments.sharp.repeat_interleave(QUARTERS, 0)
        target = expose(sharp, middle, 1, self.moments.size)[self.chosen]
        return _inner_psnr(self._restored(network, self.moments.pieces[self.chosen]), target)

    def _consistency(self, network: nn.Module) -> float:
        """PSNR of the blurred pieces against the restored sharp moment, exposed along its path."""
        light = self.response.linear(self._restored(network, self.moments.sharp)).repeat_interleave(QUARTERS, 0)
        seen = self.response.display(expose(light, self.paths, SAMPLES, self.moments.size))[self.chosen]
        return _inner_psnr(seen, self.moments.pieces[self.chosen])

    def gains(self, network: nn.Module) -> tuple[float, float]:
        """Agreement and consistency over those of the unadapted network, in dB; NaN where nothing could be aligned."""
        return self._agreement(network) - self.agreed, self._consistency(network) - self.consistent


def _inner_psnr(one: Tensor, other: Tensor) -> float:
    if not len(one):
        return float("nan")
    return float(-10 * (one - other)[..., 16:-16, 16:-16].square().mean((1, 2, 3)).log10().mean())


def rank_correlation(one: list[float], other: list[float]) -> float:
    """Spearman's, over the pairs without NaN."""
    pairs = np.array([pair for pair in zip(one, other, strict=True) if not np.isnan(pair).any()])
    return float(np.corrcoef(pairs.argsort(0).argsort(0).T)[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--network", default="default")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--signals", action="store_true")
    args = parser.parse_args()
    device, network = pick_device(), load_chosen(args.network, "video", "deblur")
    base = device.place(network.module)
    reblur, critic = (device.place(load_chosen("default", "meta", r).module) for r in ("reblur", "critic"))  # type: ignore[arg-type]
    worth, guard.WORTH = guard.WORTH, float("-inf")  # every outcome is looked at; the guard's verdict is applied below
    photos = {path.stem: path for path in sorted((args.data / "photos").iterdir())}
    rows: dict[str, list[float]] = {name: [] for name in args.only}
    seconds: dict[str, list[float]] = {name: [] for name in args.only}
    before: list[tuple[float, float]] = []
    trials: list[tuple[float, float, float, float]] = []
    for index, name in enumerate(VIDEOS):
        blurred, sharp = shake(photos[name], index, args.frames)
        unadapted = psnr(Restorer(base, network.spec, device), blurred, sharp)
        before.append((fmean(map(metrics.psnr, blurred[1::2], sharp[1::2])), unadapted))
        signals = None
        for variant in args.only:
            options = AdaptOptions(**VARIANTS[variant])
            found = survey(blurred, patches=options.patches + HELD_OUT, size=options.patch_size, seed=options.seed)
            if args.signals and signals is None:
                signals = Signals(found, network, base)
            learnt = (reblur, critic) if options.reblurring == "network" else (None, None)
            started = time.perf_counter()
            adapted, done = adapt(base, network.spec, *learnt, found, options, device, Reporter.silent())
            seconds[variant].append(time.perf_counter() - started)
            gain = psnr(Restorer(adapted, network.spec, device), blurred, sharp) - unadapted
            pseudo = 1 - done.held_out_after / done.held_out_before
            rows[variant].append(gain if done.kept and pseudo >= worth else 0.0)
            line = f"{name}, {variant}: {gain:+.3f} dB, held-out loss {-pseudo:+.2%}, {done.reason}"
            if signals is not None and done.kept:
                trials.append((gain, pseudo, *signals.gains(adapted)))
                line += f"; agreement {trials[-1][2]:+.3f} dB, consistency {trials[-1][3]:+.3f} dB"
            print(line, flush=True)
    print(f"\n| variant | {' | '.join(f'video {i + 1}' for i in range(len(VIDEOS)))} | mean | least | s |")
    print(f"|{'---|' * (len(VIDEOS) + 4)}")
    for title, column in (("blurred (dB)", 0), ("unadapted (dB)", 1)):
        values = [pair[column] for pair in before]
        print(f"| {title} | {' | '.join(f'{v:.2f}' for v in values)} | {fmean(values):.2f} | | |")
    for variant, gains in rows.items():
        cells = " | ".join(f"{gain:+.2f}" for gain in gains)
        print(f"| {variant} | {cells} | {fmean(gains):+.3f} | {min(gains):+.3f} | {fmean(seconds[variant]):.0f} |")
    if trials:
        gains, *found_signals = (list(column) for column in zip(*trials, strict=True))
        for title, signal in zip(("held-out pseudo pairs", "agreement", "consistency"), found_signals, strict=True):
            print(f"rank correlation of {title} with the gain: {rank_correlation(signal, gains):+.2f}")


if __name__ == "__main__":
    main()
