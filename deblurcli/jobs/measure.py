"""The scores of files: pictures and their references through the measures that were asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from deblurcli.adaptation.residual import Exposure
from deblurcli.console import Reporter
from deblurcli.device import pick_device
from deblurcli.errors import InputError, UsageError, WeightsError
from deblurcli.jobs.residual import explain
from deblurcli.jobs.side_by_side import pictures, side_by_side
from deblurcli.media.shots import CutDetector
from deblurcli.metrics.fidelity import psnr, rounded, ssim
from deblurcli.metrics.naturalness import NaturalModel, bundled_model, niqe, read_model
from deblurcli.metrics.perceptual import lpips
from deblurcli.metrics.registration import aligned_fidelity
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.metrics.series import Means, Measure, Scores, frame_scores
from deblurcli.options.metrics import LPIPS_TRUNKS, MetricsOptions
from deblurcli.reports.scores import with_before
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
        self.measures = measures_of(options, compare)

    def __call__(
        self,
        restored: Path,
        reference: Path | None,
        report: Reporter | None = None,
        blurred: Path | None = None,
        before: Path | None = None,
    ) -> dict[str, Any]:
        """Scores of one file, as :func:`deblurcli.api.measure` says.

        Args:
            blurred: the input that it must explain.
            before: the input, to be measured in the same way.
        """
        scores = self._of_one(restored, reference, report, blurred)
        if before is None:
            return scores
        found = self._of_one(before, reference, report, beside=restored)
        if found["frames"] != scores["frames"]:
            counts = f"{before} has {found['frames']} frames, {restored} has {scores['frames']}"
            raise InputError(counts, "compare videos of equal length")
        damage = list(dict.fromkeys([*found.pop("damage", []), *scores.get("damage", [])]))
        return with_before(scores, found) | ({"damage": damage} if damage else {})

    def _of_one(
        self,
        restored: Path,
        reference: Path | None,
        report: Reporter | None,
        blurred: Path | None = None,
        beside: Path | None = None,
    ) -> dict[str, Any]:
        damage: list[str] = []
        explained = None if blurred is None else explain(restored, blurred, damage, self.exposure, report)
        of_frames = explained.frames if explained is not None else {}
        frames = (
            ((picture, None) for picture in pictures(restored, damage, beside))
            if reference is None
            else side_by_side(restored, reference, damage, beside)
        )
        means, rows = Means(), []
        for scores in frame_scores(frames, self.measures, CutDetector()):
            if self.per_frame:
                found = of_frames.get(means.frames)
                rows.append(scores | ({"reblur": found.restored, "reblur_input": found.input} if found else {}))
            means.add(scores)
            if report is not None:
                report.progress(f"measuring {restored.name}", means.frames, None)
        damage = list(dict.fromkeys(damage))
        scores = means.scores() | (explained.scores() if explained is not None else {})
        return scores | ({"per_frame": rows} if self.per_frame else {}) | ({"damage": damage} if damage else {})


def measures_of(options: MetricsOptions, compare: bool) -> list[Measure]:
    """The measures that were asked for. Raises as :class:`Measurement`, for all but a file.

    Args:
        compare: whether pictures are compared with references.
    """
    measures: list[Measure] = []
    if compare:
        measures.append(_aligned if options.align else _fidelity(options.ssim_mode))
        if network := _perceptual_network(options.lpips):
            measures.append(_perceptual(network, options.device))
    elif options.lpips not in ("auto", "off") or options.align:
        option = "--align" if options.align else f"--lpips {options.lpips}"
        raise UsageError(f"{option} compares with a reference", "give one, or leave it out")
    if options.niqe or options.niqe_model or not compare:
        model = _natural_model(options.niqe_model)
        measures.append(lambda picture, _: {"niqe": niqe(picture, model, options.niqe_mode)})
    if not compare:
        measures.append(lambda picture, _: {"self_shift": float(self_shift_score(rounded(picture)[None] / 255))})
    return measures


def _natural_model(chosen: Path | None) -> NaturalModel:
    """The model of NIQE: the package's, one of the registry by its name, or a file."""
    if chosen is None:
        return bundled_model()
    if chosen.suffix or chosen.name != str(chosen):
        return read_model(chosen)
    entry = registry.find(str(chosen))
    if entry.network != registry.NIQE:
        raise WeightsError(f"weights {entry.name!r} are a {entry.network}, no model of NIQE", "give niqe-original")
    return read_model(Path(entry.file), store.read_verified(entry))


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
