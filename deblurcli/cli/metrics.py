"""`deblur metrics`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from deblurcli.cli.session import Session
from deblurcli.console import Reporter
from deblurcli.errors import UsageError
from deblurcli.jobs.batch import finish
from deblurcli.jobs.plan import is_several, pairs_to_measure
from deblurcli.options.metrics import MetricsOptions
from deblurcli.options.option import check, option
from deblurcli.reports.scores import Scores, csv_lines, json_line, mean_of, table


def _measured(
    pairs: list[tuple[Path, Path | None]], report: Reporter, options: MetricsOptions
) -> tuple[dict[str, Scores], list[int]]:
    """Scores by file name, and the codes of what could not be measured."""
    from deblurcli.jobs.measure import Measurement

    measurement = Measurement(options, compare=pairs[0][1] is not None)
    scores: dict[str, Scores] = {}
    codes = []
    for count, (mine, theirs) in enumerate(pairs):
        # Of one file the frames are counted, of several the files.
        single = report if len(pairs) == 1 else None
        if single is None:
            report.progress("measuring", count, len(pairs))
        try:
            scores[mine.name] = measurement(mine, theirs, single)
        except Exception as error:
            if len(pairs) == 1:
                raise
            codes.append(report.failure(error, about=mine.name))
    return scores, codes


@dataclass(frozen=True)
class Shown:
    """How scores are shown."""

    form: str = option(
        "table",
        help="A table to read, comma-separated values, or one JSON object.",
        panel="Result",
        choices=("table", "csv", "json"),
        flags=("--format",),
    )

    def __post_init__(self) -> None:
        check(self)


def metrics(
    session: Session,
    restored: Annotated[str, typer.Argument(metavar="RESTORED", help="Image, video, folder of them, or pattern.")],
    shown: Shown,
    options: MetricsOptions,
    reference: Annotated[
        str | None,
        typer.Argument(metavar="REFERENCE", help="The sharp original, or those of each by name.", show_default=False),
    ] = None,
) -> None:
    """Measure restored images or videos, against their sharp originals or by themselves.

    With REFERENCE: PSNR in dB, SSIM and LPIPS, which is left out while its weights are not on this machine. Without
    one: NIQE, the distance from sharp photos, and the self-shift score in dB, how little a picture changes when it is
    shifted by a pixel; both are lower for sharper pictures. All are means over the frames, taken on 8-bit RGB without
    cutting borders, and left out where pictures are too small.

    Videos also have flicker, what changes from frame to frame besides the original's motion (temporal warping error,
    root mean square, of 255), and that of the original itself to compare with.

    Folders and patterns are matched by file name, whatever the suffix; their last row is the mean over the files. Put
    patterns in quotes. What cannot be measured is named, the rest goes on, and the exit code is 3.

    JSON and CSV have the names psnr, ssim, lpips, niqe, self_shift, flicker, flicker_reference and frames. JSON: items
    with name, scores and, if asked for, per_frame, and their mean. CSV: a row for each file and the mean, or with
    --per-frame a row for each frame, counted from 0. Infinity, the PSNR of equal pictures, is null or inf.
    """
    console, form = session.console, shown.form
    if options.per_frame and form == "table":
        raise UsageError("--per-frame is not for tables", "add --format csv or json")
    pairs = pairs_to_measure(restored, reference)
    scores, codes = _measured(pairs, console, options)
    if scores:
        mean = mean_of(list(scores.values()))
        rows = scores | ({"mean": mean} if is_several(restored) else {})
        if form == "json":
            console.result(json_line(scores, mean))
        else:
            for line in (
                csv_lines(scores if options.per_frame else rows, options.per_frame) if form == "csv" else table(rows)
            ):
                console.result(line)
    if reference is not None and options.lpips == "auto" and scores:
        _tell_how_to_get_lpips(console)
    finish(codes, len(pairs))


def _tell_how_to_get_lpips(report: Reporter) -> None:
    from deblurcli.jobs.measure import AUTOMATIC, lpips_is_here

    if not lpips_is_here():
        report.note(f"LPIPS is left out: its weights are not on this machine; run: deblur weights pull {AUTOMATIC}")
