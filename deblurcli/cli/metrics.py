"""`deblur metrics`."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer

from deblurcli.cli.parameters import command
from deblurcli.cli.session import Session
from deblurcli.console import Reporter, one_line
from deblurcli.errors import InputError, UsageError
from deblurcli.jobs.batch import finish
from deblurcli.media.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES, expand, is_pattern
from deblurcli.options.metrics import MetricsOptions
from deblurcli.options.option import check, option

COLUMNS = {
    "psnr": ("PSNR dB", 8, 3),
    "ssim": ("SSIM", 7, 4),
    "lpips": ("LPIPS", 7, 4),
    "niqe": ("NIQE", 7, 3),
    "self_shift": ("self-shift", 10, 2),
    "flicker": ("flicker", 8, 3),
    "flicker_reference": ("original", 8, 3),
    "frames": ("frames", 6, 0),
}
"""The table: title, width and decimals of each score. Images have no flicker."""

Scores = dict[str, Any]
"""Numbers by the names of COLUMNS; under ``per_frame`` a list of the same for each frame."""


def _pairs(restored: str, reference: str | None) -> list[tuple[Path, Path | None]]:
    """The files to measure and what to compare each with; of several, those of one name.

    Raises:
        InputError: one side is one file and the other several; a folder has no pictures.
        UsageError: several files have one name, so that the rows could not be told apart.
    """
    if reference is None:
        return [(file, None) for file in _files(restored).values()]
    if _several(restored) != _several(reference):
        many, one = (restored, reference) if _several(restored) else (reference, restored)
        what = "a folder" if Path(many).is_dir() else "a pattern"
        raise InputError(f"{many} is {what}, {one} is not", "give two files, two folders or two patterns")
    mine, theirs = _files(restored), _files(reference)
    if not _several(restored):
        return list(zip(mine.values(), theirs.values(), strict=True))
    # Without a twin, the name under which it was looked for is what is reported as missing.
    folder = Path(reference) if Path(reference).is_dir() else Path(reference).parent
    return [(file, _twin(file, theirs) or folder / file.name) for file in mine.values()]


def _several(text: str) -> bool:
    """Whether an argument stands for any number of files: a folder, or a pattern."""
    return Path(text).is_dir() or is_pattern(text)


def _files(text: str) -> dict[str, Path]:
    """The files of an argument by name. Raises InputError, UsageError."""
    found = expand([text], IMAGE_SUFFIXES | VIDEO_SUFFIXES)
    if found == [Path(text)] and found[0].is_dir():
        raise InputError(f"folder {text} has no images or videos", "give another folder")
    files: dict[str, Path] = {}
    for path in found:
        if other := files.get(path.name):
            raise UsageError(f"{other} and {path} have one name", "measure them apart")
        files[path.name] = path
    return files


def _twin(file: Path, others: dict[str, Path]) -> Path | None:
    """The file of the same name, or the only one whose name differs just in its suffix."""
    alike = [path for path in others.values() if path.stem == file.stem]
    return others.get(file.name) or (alike[0] if len(alike) == 1 else None)


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


def _mean(scores: list[Scores]) -> Scores:
    """Over the files that have a score; the frames are added up."""
    found = {key: [s[key] for s in scores if key in s] for key in COLUMNS}
    return {key: sum(values) if key == "frames" else fmean(values) for key, values in found.items() if values}


def _table(rows: dict[str, Scores]) -> list[str]:
    columns = {key: column for key, column in COLUMNS.items() if any(key in s for s in rows.values())}
    named = {one_line(name): scores for name, scores in rows.items()}
    width = max(map(len, named))
    lines = [f"{'':{width}}" + "".join(f"  {title:>{cell}}" for title, cell, _ in columns.values())]
    for name, scores in named.items():
        cells = (
            f"{scores[key]:{cell}.{decimals}f}" if key in scores else " " * cell
            for key, (_, cell, decimals) in columns.items()
        )
        lines.append("  ".join([f"{name:{width}}", *cells]).rstrip())
    return lines


def _csv(rows: dict[str, Scores], per_frame: bool) -> list[str]:
    """Lines of comma-separated values: a header and a line for each file, or for each frame of each."""
    if per_frame:
        lines = [
            {"name": name, "frame": number, **frame}
            for name, scores in rows.items()
            for number, frame in enumerate(scores["per_frame"])
        ]
    else:
        lines = [{"name": name, **scores} for name, scores in rows.items()]
    keys = [key for key in ("name", "frame", *COLUMNS) if any(key in line for line in lines)]
    text = io.StringIO()
    writer = csv.DictWriter(text, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().removesuffix("\n").split("\n")


def _json(rows: dict[str, Scores], mean: Scores) -> str:
    items = [{"name": name, **scores} for name, scores in rows.items()]
    return json.dumps(_finite({"items": items, "mean": mean}))


def _finite(value: Any) -> Any:
    """JSON has no infinity, the PSNR of equal pictures: null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
    pairs = _pairs(restored, reference)
    scores, codes = _measured(pairs, console, options)
    if scores:
        mean = _mean(list(scores.values()))
        rows = scores | ({"mean": mean} if _several(restored) else {})
        if form == "json":
            console.result(_json(scores, mean))
        else:
            for line in (
                _csv(scores if options.per_frame else rows, options.per_frame) if form == "csv" else _table(rows)
            ):
                console.result(line)
    if reference is not None and options.lpips == "auto" and scores:
        _tell_how_to_get_lpips(console)
    finish(codes, len(pairs))


def _tell_how_to_get_lpips(report: Reporter) -> None:
    from deblurcli.jobs.measure import AUTOMATIC, lpips_is_here

    if not lpips_is_here():
        report.note(f"LPIPS is left out: its weights are not on this machine; run: deblur weights pull {AUTOMATIC}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "metrics")(metrics)
