"""Scores of files as a table, as comma-separated values, or as JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from deblurcli.console import one_line

COLUMNS = {
    "psnr": ("PSNR dB", 8, 3),
    "ssim": ("SSIM", 7, 4),
    "lpips": ("LPIPS", 7, 4),
    "niqe": ("NIQE", 7, 3),
    "self_shift": ("self-shift", 10, 2),
    "flicker": ("flicker", 8, 3),
    "flicker_reference": ("original", 8, 3),
    "reblur": ("reblur dB", 9, 2),
    "reblur_input": ("input dB", 8, 2),
    "tau": ("tau", 5, 3),
    "gamma": ("gamma", 5, 1),
    "moving": ("moving", 6, 2),
    "frames": ("frames", 6, 0),
}
"""The table: title, width and decimals of each score. Images have no flicker."""

Scores = dict[str, Any]
"""Numbers by the names of COLUMNS; ``per_frame``: a list of the same for each frame; ``damage``: lines."""


def mean_of(scores: list[Scores]) -> Scores:
    """Over the files that have a score; the frames are added up."""
    found = {key: [s[key] for s in scores if key in s] for key in COLUMNS}
    return {key: math.fsum(v) / len(v) if key != "frames" else sum(v) for key, v in found.items() if v}


def lines(scores: dict[str, Scores], form: str, per_frame: bool = False, *, with_mean: bool) -> list[str]:
    """The scores of files by name as a ``table``, ``csv`` or ``json``, with a last row for the mean if asked for."""
    mean = mean_of(list(scores.values()))
    if form == "json":
        items = [{"name": name, **found} for name, found in scores.items()]
        return [json.dumps(_finite({"items": items, "mean": mean}))]
    rows = scores | ({"mean": mean} if with_mean else {})
    if form == "table":
        return table(rows)
    return csv_lines(scores if per_frame else rows, per_frame)


def table(rows: dict[str, Scores]) -> list[str]:
    """Lines to read: a header, and a line for each file."""
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


def csv_lines(rows: dict[str, Scores], per_frame: bool) -> list[str]:
    """Lines of comma-separated values: a header and a line for each file, or for each frame of each."""
    found: list[Scores] = []
    for name, scores in rows.items():
        if per_frame:
            found += [{"name": name, "frame": number, **frame} for number, frame in enumerate(scores["per_frame"])]
        else:
            found.append({"name": name, **scores})
    keys = [key for key in ("name", "frame", *COLUMNS) if any(key in line for line in found)]
    text = io.StringIO()
    writer = csv.DictWriter(text, keys, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue().removesuffix("\n").split("\n")


def _finite(value: Any) -> Any:
    """JSON has no infinity, the PSNR of equal pictures: null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
