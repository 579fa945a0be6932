"""`deblur metrics`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import fmean
from typing import Annotated

import typer

from deblurcli.cli.batch import expand, finish
from deblurcli.cli.session import Log, Quiet, Verbose, begin, explain
from deblurcli.errors import InputError
from deblurcli.report import Reporter

Scores = dict[str, float]


def _pairs(restored: Path, reference: Path) -> list[tuple[Path, Path]]:
    """The files to compare; in folders those of one name."""
    if not restored.is_dir() and not reference.is_dir():
        return [(restored, reference)]
    if not (restored.is_dir() and reference.is_dir()):
        file, folder = (reference, restored) if restored.is_dir() else (restored, reference)
        raise InputError(f"{folder} is a folder, {file} is not", "give two files or two folders")
    from deblurcli.media.images import IMAGE_SUFFIXES
    from deblurcli.media.probe import VIDEO_SUFFIXES

    files = expand([str(restored)], IMAGE_SUFFIXES | VIDEO_SUFFIXES)
    if files == [restored]:
        raise InputError(f"folder {restored} has no images or videos", "give another folder")
    return [(file, reference / file.name) for file in files]


def _measured(pairs: list[tuple[Path, Path]], report: Reporter) -> tuple[dict[str, Scores], list[int]]:
    """Scores by file name, and the codes of what could not be measured."""
    from deblurcli.api import measure

    scores: dict[str, Scores] = {}
    codes = []
    for count, (mine, theirs) in enumerate(pairs):
        report.progress("measuring", count, len(pairs))
        try:
            scores[mine.name] = measure(mine, theirs)
        except Exception as error:
            if len(pairs) == 1:
                raise
            codes.append(explain(report, error, about=mine.name)[0])
    return scores, codes


def _row(name: str, scores: Scores, width: int) -> str:
    return f"{name:{width}}  {scores['psnr']:8.3f}  {scores['ssim']:7.4f}  {scores['frames']:6.0f}"


def _finite(scores: Scores) -> dict[str, float | None]:
    """JSON has no infinity, the PSNR of equal pictures: null."""
    return {key: value if math.isfinite(value) else None for key, value in scores.items()}


def metrics(
    ctx: typer.Context,
    restored: Annotated[Path, typer.Argument(metavar="RESTORED", help="Image, video, or folder of them.")],
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="The sharp original of each.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log: Log = "",
) -> None:
    """Measure restored images or videos against their sharp originals.

    Prints PSNR in dB and SSIM, the mean over the frames, and the number of frames. Both scores are taken on 8-bit RGB
    without cutting borders. Two folders are matched by file name; the last line is the mean over the files. What
    cannot be measured is named, the rest goes on, and the exit code is 3.
    """
    report = begin(ctx, quiet, verbose, log)
    pairs = _pairs(restored, reference)
    scores, codes = _measured(pairs, report)
    if scores:
        mean = {key: fmean(s[key] for s in scores.values()) for key in ("psnr", "ssim")}
        mean["frames"] = sum(s["frames"] for s in scores.values())
        if as_json:
            items = [{"name": name} | _finite(s) for name, s in scores.items()]
            report.result(json.dumps({"items": items, "mean": _finite(mean)}))
        else:
            width = max(map(len, (*scores, "mean")))
            report.result(f"{'':{width}}  {'PSNR dB':>8}  {'SSIM':>7}  {'frames':>6}")
            for name, s in scores.items():
                report.result(_row(name, s, width))
            if restored.is_dir():
                report.result(_row("mean", mean, width))
    finish(codes, len(pairs))
