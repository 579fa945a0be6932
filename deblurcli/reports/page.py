"""What differs between two versions of a video, as one HTML file: pictures first, then numbers. It loads nothing.

The page is a template, a script and data: ``page.html``, ``page.js``, and JSON with every picture in it.
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from deblurcli.adaptation.strata import BOUNDS
from deblurcli.media.canvas import jpeg, resized, within
from deblurcli.reports.scores import better_direction, finite, winner
from deblurcli.reports.views import Corner, Pair
from deblurcli.version import __version__

PICTURE_BYTES = 2_000_000
"""Bytes of all pictures of a page: with base64 and all else it stays below 3 MB."""
SIZES = ((1600, 92), (1600, 88), (1280, 86), (1280, 80), (960, 78), (800, 72), (640, 66), (480, 60), (320, 45))
"""Width of the key frames and JPEG quality, from the best on: the first that fits is taken."""
MAX_WIDTH = SIZES[0][0]
MAX_CROP, CROPS_ACROSS = 360, 4
"""Pixels of a crop in the page, and how many are as wide as a key frame, at least; larger ones are shrunk."""
MAX_CROP_MOMENTS = 6
"""Key frames that crops are shown of."""
MAX_POINTS = 1000
"""Points of a curve; means of more frames."""
MAX_ADAPTATIONS = 8
"""Adaptations that are drawn, where each shot or frame has its own."""
MAX_RECORD = 150_000
"""Characters of the run's record; a longer one is left out."""
EQUAL_DB = 0.05
"""Decibels of the self-shift score by which two frames are equally sharp."""


@dataclass(frozen=True)
class KeyFrame:
    """One moment of both versions."""

    number: int
    pair: Pair
    """At most ``MAX_WIDTH`` pixels wide."""
    crops: Sequence[tuple[np.ndarray, np.ndarray]] = ()
    """Each crop of both versions, at its own size."""


@dataclass
class Comparison:
    """What was found in two versions of a video or picture."""

    names: tuple[str, str]
    """What the two are called."""
    files: Sequence[tuple[str, str]]
    """Name and facts of each."""
    video: bool
    size: tuple[int, int]
    """Width and height in pixels, upright."""
    seconds: list[float] = field(default_factory=list)
    """Time of each frame."""
    changes: list[float] = field(default_factory=list)
    """How much each frame differs: root mean square of the luma, in 8-bit code values."""
    sharpness: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    """Self-shift score of each frame, of both versions, in dB; lower is sharper."""
    niqe: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    """NIQE of the key frames, of both versions; NaN where a frame is too small."""
    places: Sequence[Corner] = ()
    side: int = 0
    """Side of a crop in pixels."""

    def lines(self) -> list[str]:
        """What was found, for people."""
        count, (one, other) = len(self.changes), self.names
        change = math.sqrt(math.fsum(each * each for each in self.changes) / max(count, 1))
        if not change:
            return ["The two are equal, pixel for pixel."]
        apart = np.subtract(*self.sharpness)
        sharper, softer = int((apart > EQUAL_DB).sum()), int((apart < -EQUAL_DB).sum())
        if self.video:
            rest = f" and less sharp in {softer}" if softer else ""
            first = f"By the self-shift score, {other} is sharper than {one} in {sharper} of {count} frames{rest}."
        else:
            word = "sharper than" if sharper else "less sharp than" if softer else "as sharp as"
            first = f"By the self-shift score, {other} is {word} {one}."
        return [f"{first} The picture changes by {change:.1f} of 255 (root mean square of the luma)."]


def page(found: Comparison, frames: Sequence[KeyFrame], run: dict[str, Any] | None = None) -> bytes:
    """The HTML file.

    Args:
        frames: at least one.
        run: what :func:`run_facts` says of the run that made the second version, if it is to be told.
    """
    shown = max(range(len(frames)), key=lambda index: found.changes[frames[index].number])
    data = {
        "labels": found.names,
        "files": [{"name": name, "about": about} for name, about in found.files],
        "video": found.video,
        "source": found.size,
        "shown": shown,
        "said": found.lines(),
        **_pictures(found, frames),
        "curves": _curves(found),
        "scores": _scores(found),
        "run": run,
    }
    # Inside a script nothing but "<" could end it.
    text = json.dumps(finite(data), ensure_ascii=True, separators=(",", ":"), default=str).replace("<", "\\u003c")
    parts = {name: (files("deblurcli.reports") / name).read_text("utf-8") for name in ("page.html", "page.js")}
    title = " and ".join(dict.fromkeys(name for name, _ in found.files))
    return (
        Template(parts["page.html"])
        .substitute(title=html.escape(title), version=__version__, script=parts["page.js"], data=text)
        .encode("utf-8", "replace")
    )


def run_facts(
    lines: Sequence[str],
    differences: Sequence[str],
    facts: dict[str, Any],
    options: dict[str, Any],
    size: tuple[int, int],
) -> dict[str, Any]:
    """What a page tells of a run: lines for people, adaptations to draw, and the record as it is.

    Args:
        facts: of its :class:`deblurcli.jobs.result.Result`.
        options: everything that was chosen.
        size: width and height of the video as it is stored, which patches lie in.
    """
    adaptations = facts.get("adaptations", [])
    record = finite({"version": __version__, "options": options, **facts})
    if len(json.dumps(record, default=str)) > MAX_RECORD:
        record = {**record, "adaptations": f"{len(adaptations)}, too many to be listed here"}
    return {
        "lines": list(lines),
        "differences": list(differences),
        "adaptations": [_adaptation(one, size) for one in adaptations[:MAX_ADAPTATIONS]],
        "record": record,
    }


def _pictures(found: Comparison, frames: Sequence[KeyFrame]) -> dict[str, Any]:
    """Key frames and crops, encoded so that all of them together fit."""
    stride = math.ceil(len(frames) / MAX_CROP_MOMENTS)
    cropped = [index for index in range(0, len(frames), stride) if frames[index].crops]
    for rung in SIZES:
        size = within(*found.size, rung[0])
        side = (min(found.side, MAX_CROP, rung[0] // CROPS_ACROSS),) * 2
        wanted = [(frame.pair.before, frame.pair.after, size) for frame in frames]
        wanted += [(*frames[at].crops[place], side) for place in range(len(found.places)) for at in cropped]
        if encoded := _within_bytes(wanted, rung[1], math.inf if rung == SIZES[-1] else PICTURE_BYTES):
            break
    whole, rest = encoded[: len(frames)], encoded[len(frames) :]
    pieces = [rest[at : at + len(cropped)] for at in range(0, len(rest), len(cropped) or 1)]
    named = [
        {"number": frame.number, "seconds": frame.pair.seconds} | _links(both)
        for frame, both in zip(frames, whole, strict=True)
    ]
    places = [
        {"y": y, "x": x, "moments": [{"frame": at} | _links(both) for at, both in zip(cropped, row, strict=True)]}
        for (y, x), row in zip(found.places, pieces, strict=True)
    ]
    return {"size": size, "frames": named, "crops": {"side": found.side, "places": places} if places else None}


def _within_bytes(
    wanted: Sequence[tuple[np.ndarray, np.ndarray, tuple[int, int]]], quality: int, most: float
) -> list[tuple[bytes, bytes]]:
    """Pairs of pictures as JPEGs of a size each; none where they would not fit."""
    encoded: list[tuple[bytes, bytes]] = []
    for before, after, size in wanted:
        both = jpeg(resized(before, *size), quality), jpeg(resized(after, *size), quality)
        most -= sum(map(len, both))
        if most < 0:
            return []
        encoded.append(both)
    return encoded


def _links(both: tuple[bytes, bytes]) -> dict[str, str]:
    links = [f"data:image/jpeg;base64,{base64.b64encode(one).decode()}" for one in both]
    return dict(zip(("before", "after"), links, strict=True))


def _curves(found: Comparison) -> dict[str, list[float]]:
    """Sharpness over time, in not too many points."""
    parts = np.array_split(np.arange(len(found.seconds)), min(len(found.seconds), MAX_POINTS))
    named = {"seconds": found.seconds, "before": found.sharpness[0], "after": found.sharpness[1]}
    return {
        name: [round(float(np.mean(np.asarray(values)[part])), 3) for part in parts] if values else []
        for name, values in named.items()
    }


def _scores(found: Comparison) -> list[dict[str, str]]:
    """Rows of the table of numbers."""
    count = len(found.seconds)
    measured = {
        "self_shift": ("Self-shift score, dB", found.sharpness, f"{count} frames", 2),
        "niqe": ("NIQE", found.niqe, f"{len(found.niqe[0])} key frames", 3),
    }
    rows = []
    for key, (name, values, over, decimals) in measured.items():
        before, after = (float(np.mean(one)) if one else math.nan for one in values)
        if math.isfinite(before) and math.isfinite(after):
            rows.append(
                {
                    "name": name,
                    "before": f"{before:.{decimals}f}",
                    "after": f"{after:.{decimals}f}",
                    "direction": f"{better_direction(key)} is better",
                    "better": {"before": found.names[0], "after": found.names[1]}.get(
                        winner(key, {key: before}, {key: after}), "equal"
                    ),
                    "over": f"mean of {over}" if found.video else "",
                }
            )
    return rows


def _adaptation(record: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """What is drawn of one adaptation: curves over its steps, and its patches."""
    options = record.get("options", {})
    patches = [
        {key: patch[key] for key in ("x", "y", "frame", "score", "contrast")}
        | {"judges": number >= options.get("patches", len(record["patches"]))}
        for number, patch in enumerate(record.get("patches", []))
    ]
    losses = [
        {"name": name.removesuffix("_losses"), "x": list(range(1, len(values) + 1)), "y": _rounded(values)}
        for name, values in record.items()
        if name.endswith("_losses") and values
    ]
    return {
        "gains": _gains(record.get("looks", [])),
        "best": record.get("best_step"),
        "kept": _kept(record),
        "losses": losses,
        "patches": patches,
        "side": record.get("patch_size", 0),
        "size": size,
    }


def _kept(record: dict[str, Any]) -> str:
    """Which weights restored the video, in a sentence; empty where there was no guard."""
    if not record.get("looks"):
        return ""
    if not record.get("kept"):
        return "None of the weights was worth keeping: the unadapted network restored the video."
    return f"The weights half-way to those of step {record['best_step']} were kept: {record['gain']:+.2f} dB."


def _gains(looks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Curves of the guard's looks: the gain in all, and in each stratum of blur."""
    if not looks:
        return []
    whole: dict[str, Any] = {"name": "as judged", "x": [0], "y": [0.0], "bold": True}
    by_stratum: dict[str, dict[str, Any]] = {}
    for look in looks:
        whole["x"].append(look["step"])
        whole["y"].append(look["gain"])
        for one in look.get("strata", {}).get("pairs", []):
            name = _stratum(one["from_pixels"])
            curve = by_stratum.setdefault(name, {"name": name, "x": [0], "y": [0.0]})
            curve["x"].append(look["step"])
            curve["y"].append(one["gain"])
    return [whole, *by_stratum.values()]


def _stratum(low: float) -> str:
    """What the pieces with blur of so many pixels, or more, are called."""
    high = next(bound for bound in BOUNDS if bound > low)
    if not low:
        return f"blur below {high:g} pixels"
    return f"blur above {low:g} pixels" if math.isinf(high) else f"blur of {low:g} to {high:g} pixels"


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
