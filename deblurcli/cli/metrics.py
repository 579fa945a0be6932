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

COLUMNS = {
    "psnr": ("PSNR dB", "8.3f"),
    "ssim": ("SSIM", "7.4f"),
    "flicker": ("flicker", "8.3f"),
    "flicker_reference": ("original", "8.3f"),
    "frames": ("frames", "6.0f"),
}
"""The table: title and format of each score. Images have no flicker."""


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


def _mean(scores: list[Scores]) -> Scores:
    """Over the files that have a score; the frames are added up."""
    found = {key: [s[key] for s in scores if key in s] for key in COLUMNS}
    return {key: sum(values) if key == "frames" else fmean(values) for key, values in found.items() if values}


def _table(rows: dict[str, Scores]) -> list[str]:
    columns = {key: column for key, column in COLUMNS.items() if any(key in s for s in rows.values())}
    width = max(map(len, (*rows, "mean")))
    lines = [f"{'':{width}}" + "".join(f"  {title:>{int(form[0])}}" for title, form in columns.values())]
    for name, scores in rows.items():
        cells = (f"{scores[key]:{form}}" if key in scores else " " * int(form[0]) for key, (_, form) in columns.items())
        lines.append("  ".join([f"{name:{width}}", *cells]).rstrip())
    return lines


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
    without cutting borders. Videos have two more columns: flicker, what changes from frame to frame besides the
    original's motion (temporal warping error, root mean square, of 255), and that of the original itself to compare
    with. Two folders are matched by file name; the last line is the mean over the files. What cannot be measured is
    named, the rest goes on, and the exit code is 3.
    """
    report = begin(ctx, quiet, verbose, log)
    pairs = _pairs(restored, reference)
    scores, codes = _measured(pairs, report)
    if scores:
        mean = _mean(list(scores.values()))
        if as_json:
            items = [{"name": name} | _finite(s) for name, s in scores.items()]
            report.result(json.dumps({"items": items, "mean": _finite(mean)}))
        else:
            for line in _table(scores | ({"mean": mean} if restored.is_dir() else {})):
                report.result(line)
    finish(codes, len(pairs))
