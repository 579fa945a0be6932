"""Whether the residual ranks restorations truly: rank correlation with the true PSNR, beside NIQE and self-shift.

Every clip is restored in several ways: not at all, by two networks, too little, too much, by an unsharp mask, and by
blends of the input with the truth, up to the truth itself. Within each clip, what a measure tells without the truth is
compared with the PSNR against the truth: Spearman's rank correlation, and how often the better one of two is found,
where they are at least 0.1 dB apart.

The residual is measured under one exposure for all restorations of a clip: the one that is found on the default
network's result, or the true one. "Along two segments": with the paper's model of motion instead of a curve. "Along the
restored flow": with the flow between the restored frames instead of those of the input.

DATA is the folder of training material: photos that training keeps for validation are filmed. Clips of both halves of
:mod:`benchmarks.cameras` are taken, half of each. What is done is kept in a file, and the same command goes on there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.cameras import HALVES, Clip, make
from benchmarks.families import pictures
from benchmarks.results import FOLDER, Table
from deblurcli.adaptation.flow_estimate import search_flow
from deblurcli.adaptation.reblurring_flow import FlowReblurring
from deblurcli.adaptation.residual import (
    Exposure,
    ExposureSearch,
    Observation,
    Observations,
    response_of,
)
from deblurcli.metrics.fidelity import psnr
from deblurcli.metrics.naturalness import niqe
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.options.compute import ComputeOptions
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Placed, Worker
from deblurcli.version import __version__

CHOSEN = {
    "tuned": {("motion", kind) for kind in ("shift", "turn", "walking", "pan", "things", "depth")},
    "judged": {
        ("length", "8"),
        ("length", "32"),
        ("response", "gamma 3.2"),
        ("compression", "crf 36"),
        ("frame rate", "open a quarter"),
        ("frame rate", "open longer than a frame"),
    },
}
"""The clips that are looked at."""
FRAMES, SIZE = 16, (384, 192)
"""Frames of a clip, and their width and height: small, so that the study takes minutes."""
RUNS, RUN = (0.5, 0.8), 3
"""Runs of frames that are restored, by the quantile of their motion among all frames, and the length of each; the frame
in the middle of a run is measured."""
TRUE = {"a third of the truth", "two thirds of the truth", "the truth"}
"""Restorations that nobody could have made."""
MEASURES = {
    "residual": 1,
    "residual, true exposure": 1,
    "residual, along two segments": 1,
    "residual, along the restored flow": 1,
    "NIQE": -1,
    "self-shift": -1,
}
"""Measure -> 1 where more is better, -1 where less is."""
APART = 0.1
"""Decibels between two restorations below which none is the better one."""


def sharpened(picture: Tensor, amount: float) -> Tensor:
    """3 x H x W, with more of what a mean of 5 x 5 pixels leaves out."""
    smooth = F.avg_pool2d(picture[None], 5, 1, 2, count_include_pad=False)[0]
    return (picture + amount * (picture - smooth)).clamp(0, 1)


def chosen_frames(blurred: list[Tensor]) -> list[int]:
    """The frames of the runs: those whose middle moves as fast as the quantiles say."""
    moments = Observations()
    found = [moments.add(frame, frame) for frame in blurred]
    # A moment is told when the frame after it is there; networks see one frame more at both ends.
    speeds = {at - 1: moment.speed for at, moment in enumerate(found) if moment is not None}
    firsts = sorted((speed, at) for at, speed in speeds.items() if 2 <= at <= len(blurred) - RUN)
    starts = [firsts[round(quantile * (len(firsts) - 1))][1] - 1 for quantile in RUNS]
    return [at for start in starts for at in range(start, start + RUN)]


def restorations(
    blurred: list[Tensor], sharp: list[Tensor], numbers: list[int], networks: dict[str, Placed]
) -> dict[str, list[Tensor]]:
    """The frames of these numbers, restored in several ways; by name.

    Args:
        blurred, sharp: all frames of the clip, 3 x H x W in [0, 1].
    """
    seen, true = ([frames[at] for at in numbers] for frames in (blurred, sharp))
    found = {"the input": seen, "unsharp mask": [sharpened(frame, 1.0) for frame in seen]}
    for name, placed in networks.items():
        restorer = Restorer(placed.module, placed.spec, placed.device)
        reach = restorer.window // 2
        found[name] = [restorer(blurred[at - reach : at + reach + 1]) for at in numbers]
    default = found["default network"]
    found["half of the default"] = [(one + other) / 2 for one, other in zip(seen, default, strict=True)]
    found["default, sharpened"] = [sharpened(frame, 0.5) for frame in default]
    found["default, sharpened twice"] = [sharpened(frame, 1.5) for frame in default]
    for name, share in (("a third of the truth", 1 / 3), ("two thirds of the truth", 2 / 3)):
        found[name] = [torch.lerp(one, other, share) for one, other in zip(seen, true, strict=True)]
    return found | {"the truth": true}


def observed(seen: list[Tensor]) -> list[Observation]:
    """The frames of both runs that are measured, and their motion."""
    moments = Observations()
    taken = [moments.add(frame, frame, starts_shot=at % RUN == 0) for at, frame in enumerate(seen)]
    return [moment for moment in taken if moment is not None]


def along_restored(moment: Observation, frames: list[Tensor]) -> Observation:
    """The same with the flow between the restored frames before, at and after the moment."""
    before, middle, after = frames
    there, back = search_flow(torch.stack([after, before]), torch.stack([middle, middle]))
    return replace(moment, after=there, before=back)


def explained(moments: list[Observation], exposure: Exposure) -> float:
    """Mean PSNR in dB."""
    return fmean(moment.decibels(moment.missed(exposure)) for moment in moments)


def explained_straight(moments: list[Observation], exposure: Exposure) -> float:
    """The same by the paper's two segments."""
    reblurring, found = FlowReblurring("warp", exposure.tau, response=response_of(exposure.exponent)), []
    for moment in moments:
        reblurred = reblurring(moment.restored[None], moment.after[None], moment.before[None])[0]
        found.append(moment.decibels((255 * (reblurred - moment.observed)).square().mean(0)))
    return fmean(found)


def exposure_of(moments: list[Observation]) -> Exposure:
    """Found on the first of some moments, the one in the middle of all by its motion."""
    search = ExposureSearch()
    search.add(moments[0])
    return search.best() or Exposure()


def filmed(
    data: Path, more: Path | None, finished: set[tuple[str, str, str]]
) -> Iterator[tuple[str, Clip, list[Tensor], list[Tensor]]]:
    """The chosen clips in the study's size, from both halves in turn: half, clip, blurred and sharp frames, 3 x H x W
    in [0, 1]."""
    photos = {half: pictures(data, more, half) for half in HALVES}
    taken = {
        half: [(index, clip) for index, clip in enumerate(of) if (clip.family, clip.kind) in CHOSEN[half]]
        for half, of in HALVES.items()
    }
    for pair in zip(*taken.values(), strict=True):
        for half, (index, clip) in zip(taken, pair, strict=True):
            if (half, clip.family, clip.kind) not in finished:
                photo, other = (photos[half][number % len(photos[half])] for number in (index, index + 1))
                frames = make(replace(clip, size=SIZE), photo, other, FRAMES, 1000 + index, None)
                blurred, sharp = ([frame / 255 for frame in part] for part in frames)
                yield half, clip, blurred, sharp


def trial(clip: Clip, blurred: list[Tensor], sharp: list[Tensor], networks: dict[str, Placed]) -> dict[str, Any]:
    """The true PSNR and all measures of each restoration of a clip."""
    found = restorations(blurred, sharp, chosen_frames(blurred), networks)
    seen, true = found["the input"], found["the truth"]
    moments = observed(seen)

    def of(name: str) -> list[Observation]:
        return [replace(moment, restored=found[name][RUN * run + 1]) for run, moment in enumerate(moments)]

    common, right = exposure_of(of("default network")), Exposure(clip.opening / 2, clip.gamma)
    rows = {}
    for name, frames in found.items():
        mine, middles = of(name), frames[1::RUN]
        moved = [along_restored(moment, frames[RUN * run :][:RUN]) for run, moment in enumerate(mine)]
        rows[name] = {
            "psnr": fmean(psnr(*pair) for pair in zip(middles, true[1::RUN], strict=True)),
            "residual": explained(mine, common),
            "residual, true exposure": explained(mine, right),
            "residual, along two segments": explained_straight(mine, common),
            "residual, along the restored flow": explained(moved, common),
            "NIQE": fmean(niqe(frame) for frame in middles),
            "self-shift": float(self_shift_score(torch.stack(middles)).mean()),
        }
    return {"exposure": [common.tau, common.exponent], "restorations": rows}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", type=Path, help="a folder of more sharp pictures, *_gt.png")
    parser.add_argument("--state", type=Path, default=FOLDER / "residual.jsonl", help="what is done so far")


def done(state: Path) -> Iterator[dict[str, Any]]:
    if state.exists():
        rows = map(json.loads, state.read_text(encoding="utf-8").splitlines())
        yield from (row for row in rows if row["version"] == __version__)


def run(args: argparse.Namespace) -> list[Table]:
    worker = Worker(ComputeOptions(device="cpu", dtype="fp32"))
    names = {"default network": "default", "single-frame network": "plain-unet"}
    networks = {title: worker.place(name, "video", "deblur") for title, name in names.items()}
    args.state.parent.mkdir(parents=True, exist_ok=True)
    finished = {(row["half"], row["family"], row["kind"]) for row in done(args.state)}
    for half, clip, blurred, sharp in filmed(args.data, args.pictures, finished):
        row: dict[str, Any] = {"version": __version__, "half": half, "family": clip.family, "kind": clip.kind}
        row |= {"true tau": clip.opening / 2} | trial(clip, blurred, sharp, networks)
        with args.state.open("a", encoding="utf-8") as file:
            print(json.dumps(row), file=file, flush=True)
    return tables(list(done(args.state)))


Rows = dict[str, dict[str, float]]


def tables(clips_done: list[dict[str, Any]]) -> list[Table]:
    """How each measure ranks, over the halves; and clip by clip."""
    kinds: dict[str, Callable[[str], bool]] = {
        "all": lambda _: True,
        "without the truth": lambda name: name not in TRUE,
    }
    by_measure = []
    for title, kept in kinds.items():
        columns = {"measure": ""}
        for half in (*HALVES, "both"):
            columns |= {f"{half}: rank correlation": "+.2f", f"{half}: better of two found (%)": ".0f"}
        table = Table(f"ranking, {title}", columns)
        for measure in MEASURES:
            cells: list[float | None] = []
            for half in (*HALVES, "both"):
                clips_of = [chosen(row["restorations"], kept) for row in clips_done if half in (row["half"], "both")]
                cells += [fmean(rank_correlation(rows, measure) for rows in clips_of) if clips_of else None]
                cells += [fmean(found_better(rows, measure) for rows in clips_of) if clips_of else None]
            table.add(measure, *cells)
        by_measure.append(table)
    columns = {"half": "", "clip": "", "true tau": ".2f", "tau found": ".2f", "exponent found": ".1f"}
    columns |= {"residual of the input": ".2f", "of the default": ".2f", "of the truth": ".2f"}
    columns |= {"rank correlation": "+.2f", "of NIQE": "+.2f"}
    each = Table("clips", columns)
    for row in clips_done:
        rows = row["restorations"]
        residuals = (rows[name]["residual"] for name in ("the input", "default network", "the truth"))
        ranked = (rank_correlation(rows, measure) for measure in ("residual", "NIQE"))
        each.add(row["half"], f"{row['family']}, {row['kind']}", row["true tau"], *row["exposure"], *residuals, *ranked)
    return [*by_measure, each]


def chosen(rows: Rows, kept: Callable[[str], bool]) -> Rows:
    return {name: row for name, row in rows.items() if kept(name)}


def rank_correlation(rows: Rows, measure: str) -> float:
    """Spearman's, of a measure with the true PSNR; signed so that 1 is a perfect ranking."""
    pairs = np.array([(row["psnr"], MEASURES[measure] * row[measure]) for row in rows.values()])
    return float(np.asarray(np.corrcoef(pairs.argsort(0).argsort(0).T))[0, 1])


def found_better(rows: Rows, measure: str) -> float:
    """Per cent of the pairs that differ in which the measure finds the better one."""
    right = [
        (one["psnr"] > other["psnr"]) == (MEASURES[measure] * (one[measure] - other[measure]) > 0)
        for one, other in combinations(rows.values(), 2)
        if one["psnr"] == inf or other["psnr"] == inf or abs(one["psnr"] - other["psnr"]) >= APART
    ]
    return 100 * fmean(right)
