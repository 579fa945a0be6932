"""Scores of files as a table, as comma-separated values, or as JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from typing import Any

from deblurcli.texts import one_line

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

BETTER = {"psnr": "higher", "ssim": "higher", "lpips": "lower", "niqe": "lower", "self_shift": "lower"}
"""Which way a score is better. Flicker has an original to be like, and no direction without one."""
LIKE_ORIGINAL = {"flicker": "flicker_reference"}

Scores = dict[str, Any]
"""Numbers by the names of COLUMNS; ``per_frame``: a list of the same for each frame; ``damage``: lines; ``before``: the
same of the input, and ``better``: which of the two has the better score, by its name."""


def mean_of(scores: list[Scores]) -> Scores:
    """Over the files that have a score; the frames are added up."""
    found = {key: [s[key] for s in scores if key in s] for key in COLUMNS}
    return {key: math.fsum(v) / len(v) if key != "frames" else sum(v) for key, v in found.items() if v}


def better_direction(key: str, found: Scores | None = None) -> str:
    """Which way a score is better: ``higher``, ``lower``, ``as original``, or empty where it has no direction."""
    if LIKE_ORIGINAL.get(key) in (found or {}):
        return "as original"
    return BETTER.get(key, "")


def winner(key: str, before: Scores, after: Scores) -> str:
    """Which of two has the better score: ``before``, ``after``, ``equal``, or empty where that cannot be told."""
    direction = better_direction(key, after)
    if not direction or key not in before or key not in after:
        return ""
    one, other = before[key], after[key]
    if direction == "as original":
        one, other = (abs(each[key] - each[LIKE_ORIGINAL[key]]) for each in (before, after))
    if one == other:
        return "equal"
    return "after" if (other > one) == (direction == "higher") else "before"


def with_before(after: Scores, before: Scores) -> Scores:
    """The scores of a restored file with those of its input, and which of the two is better by each."""
    named = {key: winner(key, before, after) for key in COLUMNS}
    return after | {"before": before, "better": {key: which for key, which in named.items() if which}}


def lines(scores: dict[str, Scores], form: str, per_frame: bool = False, *, with_mean: bool) -> list[str]:
    """The scores of files by name as a ``table``, ``csv`` or ``json``, with a last row for the mean if asked for."""
    found = list(scores.values())
    mean, compared = mean_of(found), all("before" in each for each in found)
    if compared:
        mean = with_before(mean, mean_of([each["before"] for each in found]))
    if form == "json":
        items = [{"name": name, **found} for name, found in scores.items()]
        return [json.dumps(finite({"items": items, "mean": mean}))]
    rows = scores | ({"mean": mean} if with_mean else {})
    rows = {name: each for one, of in rows.items() for name, each in _both(one, of)} if compared else rows
    if form == "table":
        return table(rows | (_verdict(mean) if compared else {}))
    if per_frame:
        rows = {name: each for name, each in rows.items() if "per_frame" in each}
    return csv_lines(rows, per_frame)


def _both(name: str, found: Scores) -> list[tuple[str, Scores]]:
    """The rows of a file that is compared with its input."""
    return [(f"{name} before", found["before"]), (f"{name} after", found)]


def _verdict(mean: Scores) -> dict[str, Scores]:
    """The last rows of a table that compares: which way a score is better, and which of the two is."""
    ways = {key: better_direction(key, mean).removeprefix("as ") for key in mean}
    return {"better is": {key: way for key, way in ways.items() if way}, "better": mean["better"]}


def table(rows: dict[str, Scores]) -> list[str]:
    """Lines to read: a header, and a line for each file."""
    columns = {key: column for key, column in COLUMNS.items() if any(key in s for s in rows.values())}
    named = {one_line(name): scores for name, scores in rows.items()}
    width = max(map(len, named))
    lines = [f"{'':{width}}" + "".join(f"  {title:>{cell}}" for title, cell, _ in columns.values())]
    for name, scores in named.items():
        cells = (_cell(scores.get(key, ""), cell, decimals) for key, (_, cell, decimals) in columns.items())
        lines.append("  ".join([f"{name:{width}}", *cells]).rstrip())
    return lines


def _cell(value: float | str, width: int, decimals: int) -> str:
    return f"{value:>{width}}" if isinstance(value, str) else f"{value:{width}.{decimals}f}"


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


def finite(value: Any) -> Any:
    """JSON has no infinity, the PSNR of equal pictures: null."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
