"""The scores of files: pictures and their references through the measures that were asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Any

from torch import Tensor

from deblurcli.adaptation.residual import Exposure, Residual, find_exposure
from deblurcli.console import Reporter
from deblurcli.device import pick_device
from deblurcli.errors import InputError, UsageError, WeightsError
from deblurcli.media.images import read_image
from deblurcli.media.inputs import IMAGE_SUFFIXES
from deblurcli.media.reader import VideoReader
from deblurcli.media.shots import CutDetector, windows
from deblurcli.metrics.fidelity import psnr, rounded, ssim
from deblurcli.metrics.naturalness import bundled_model, niqe, read_model
from deblurcli.metrics.perceptual import lpips
from deblurcli.metrics.registration import aligned_fidelity
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.metrics.series import Means, Measure, Scores, frame_scores
from deblurcli.options.metrics import LPIPS_TRUNKS, MetricsOptions
from deblurcli.weights import registry, store
from deblurcli.weights.load import LoadedNetwork, load_network

AUTOMATIC = "lpips-alex"
"""The weights that ``--lpips auto`` uses if they are there."""


class Measurement:
    """Measures one file after the other, with references or without; networks and models are loaded once.

    Raises as :func:`deblurcli.api.measure`, for a file when it is measured, for all else at once.
    """

    def __init__(self, options: MetricsOptions, compare: bool) -> None:
        self.per_frame = options.per_frame
        self.exposure = (
            None if options.tau is None else Exposure(options.tau, options.reblur_gamma or Exposure.exponent)
        )
        self.measures = _measures(options, compare)

    def __call__(
        self, restored: Path, reference: Path | None, report: Reporter | None = None, blurred: Path | None = None
    ) -> dict[str, Any]:
        """Scores of one file, as :func:`deblurcli.api.measure` says; ``blurred``: the input that it must explain."""
        damage: list[str] = []
        explained, of_frames = ({}, {}) if blurred is None else self._explained(restored, blurred, damage, report)
        frames = (
            ((picture, None) for picture in _pictures(restored, damage))
            if reference is None
            else _side_by_side(restored, reference, damage)
        )
        means, rows = Means(), []
        for scores in frame_scores(frames, self.measures, CutDetector()):
            if self.per_frame:
                rows.append(scores | of_frames.get(means.frames, {}))
            means.add(scores)
            if report is not None:
                report.progress(f"measuring {restored.name}", means.frames, None)
        damage = list(dict.fromkeys(damage))
        found = means.scores() | explained | ({"per_frame": rows} if self.per_frame else {})
        return found | ({"damage": damage} if damage else {})

    def _explained(
        self, restored: Path, blurred: Path, damage: list[str], report: Reporter | None
    ) -> tuple[Scores, dict[int, Scores]]:
        """How well a restored video explains its input: its scores, and those of each frame that moves by number."""
        for path in (restored, blurred):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                raise InputError(f"{path} is an image", "--reblur compares videos: leave it out")
        residual = Residual(self.exposure or _exposure(restored, blurred))
        is_cut, of_frames = CutDetector(), {}
        for number, (mine, seen) in enumerate(_side_by_side(restored, blurred, damage)):
            if found := residual.add(mine, seen, is_cut(seen)):
                of_frames[number - 1] = {"reblur": found.restored, "reblur_input": found.input}
            if report is not None:
                report.progress(f"reblurring {restored.name}", number + 1, None)
        exposure, mean = residual.exposure, residual.mean()
        scores = {} if mean is None else {"reblur": mean.restored, "reblur_input": mean.input}
        scores |= {"tau": exposure.tau, "gamma": exposure.exponent, "moving": residual.moving}
        return scores, of_frames if self.per_frame else {}


def _exposure(restored: Path, blurred: Path) -> Exposure:
    """The exposure under which a restored video explains its input best."""
    is_cut = CutDetector()
    around = windows(_side_by_side(restored, blurred, []), 3, lambda pair: is_cut(pair[1]))
    return find_exposure((partial(itemgetter(0), pair), [seen for _, seen in pairs]) for pair, pairs in around)


def _measures(options: MetricsOptions, compare: bool) -> list[Measure]:
    measures: list[Measure] = []
    if compare:
        measures.append(_aligned if options.align else _fidelity(options.ssim_mode))
        if network := _perceptual_network(options.lpips):
            measures.append(_perceptual(network, options.device))
    elif options.lpips not in ("auto", "off") or options.align:
        option = "--align" if options.align else f"--lpips {options.lpips}"
        raise UsageError(f"{option} compares with a reference", "give one, or leave it out")
    if options.niqe or options.niqe_model or not compare:
        model = read_model(options.niqe_model) if options.niqe_model else bundled_model()
        measures.append(lambda picture, _: {"niqe": niqe(picture, model, options.niqe_mode)})
    if not compare:
        measures.append(lambda picture, _: {"self_shift": float(self_shift_score(rounded(picture)[None] / 255))})
    return measures


def _fidelity(mode: str) -> Measure:
    return lambda picture, reference: {"psnr": psnr(picture, reference), "ssim": ssim(picture, reference, mode)}


def _aligned(picture: Tensor, reference: Tensor) -> Scores:
    psnr, ssim = aligned_fidelity(picture, reference)
    return {"psnr": psnr, "ssim": ssim}


def _perceptual(network: LoadedNetwork, device: str) -> Measure:
    module, smallest = pick_device(device, "fp32").place(network.module), network.spec.min_size
    return lambda picture, reference: {"lpips": lpips(picture, reference, module, smallest)}


def _perceptual_network(wanted: str) -> LoadedNetwork | None:
    """The network of LPIPS; None where it is not wanted, or not on this machine and not asked for by name."""
    if wanted == "off" or (wanted == "auto" and not lpips_is_here()):
        return None
    name = {"auto": AUTOMATIC} | {trunk: f"lpips-{trunk}" for trunk in LPIPS_TRUNKS}
    return load_network(name.get(wanted, Path(wanted)), role="metric")


def lpips_is_here() -> bool:
    """Whether the weights of LPIPS that ``auto`` stands for are on this machine."""
    try:
        store.locate(registry.find(AUTOMATIC))
    except WeightsError:
        return False
    return True


def _side_by_side(restored: Path, reference: Path, damage: list[str]) -> Iterator[tuple[Tensor, Tensor]]:
    """The pictures of two files in step. Raises InputError where they are not of one size and length."""
    for count, (mine, theirs) in enumerate(zip_longest(_pictures(restored, damage), _pictures(reference, damage))):
        if mine is None or theirs is None:
            longer = reference if mine is None else restored
            raise InputError(f"{longer} has more than the other's {count} frames", "compare videos of equal length")
        if mine.shape != theirs.shape:
            sizes = [f"{p.shape[2]}x{p.shape[1]}" for p in (mine, theirs)]
            raise InputError(f"{restored} is {sizes[0]}, {reference} is {sizes[1]}", "compare pictures of equal size")
        yield mine, theirs


def _pictures(path: Path, damage: list[str]) -> Iterator[Tensor]:
    """The pictures of a file; ``damage`` gets a line for each kind that a video has."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        yield read_image(path).rgb()
        return
    with VideoReader(path) as reader:
        for frame in reader.frames():
            yield frame.rgb()
        damage += [f"{path.name}: {line}" for line in reader.damage.lines()]
