"""Which number, told without the truth, finds the better one of two results: the summary of a run goes by the winner.

Clips of all kinds of :mod:`benchmarks.cameras` with exact truth are restored: not at all (the input), by the unadapted
network, by the network that the method meta adapts, whatever its guard says of it, and by one that went three times as
far in the same direction, as adapting without a guard may. For each pair of results the better one by PSNR is compared
with the better one by each number. Pairs less than 0.02 dB apart are left out.

The numbers are of single frames, but for the residual, which gets the true exposure here, and for what the guard
expects, which judges networks and says nothing of the input. How much better a result is, is compared too: the rank
correlation, over all clips, of what a number gains with what PSNR gains, from the input to the unadapted network's
result.

DATA is the folder of training material: photos that training keeps for validation are filmed; more sharp pictures may
be given. What is done is kept in a file, and the same command goes on there.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.cameras import HALVES, Clip, make
from benchmarks.families import Watched, pictures, rank_correlation
from benchmarks.residual import RUN, chosen_frames, explained, observed
from benchmarks.results import FOLDER, Table
from deblurcli.adaptation.residual import Exposure
from deblurcli.media.footage import PictureFootage
from deblurcli.methods import meta, prepare
from deblurcli.metrics.edge_strength import edge_strength
from deblurcli.metrics.fidelity import psnr
from deblurcli.metrics.naturalness import niqe
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.meta import MetaOptions
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Placed, Worker
from deblurcli.version import __version__

FRAMES, SIZE = 9, (192, 192)
"""Frames of a clip, and their width and height: small, so that the study takes minutes."""
TWICE = {"motion", "length"}
"""Families that are filmed a second time, with other pictures and paths."""
OPTIONS = MetaOptions(steps="10", rate=2e-4, crop=96, patches=3)
"""Few steps at a high rate: the study takes long enough."""
TOO_FAR = 3.0
"""How far the third network lies from the unadapted one, in distances of the adapted one."""
APART = 0.02
"""Decibels between two results below which none is the better one."""
RESULTS = ("input", "unadapted", "adapted", "too far")
GUARD = "guard's expectation"
USUAL = "no number: always the usual winner"
"""What is right without looking, by always naming the version that wins this comparison more often."""
NUMBERS = {
    "self-shift": -1,
    "NIQE": -1,
    "residual": 1,
    "gradient energy": 1,
    "steepest edges": 1,
    "narrowness of edges": 1,
    "change by blurring again": 1,
    "gradients relative to their spread": -1,
}
"""Number -> 1 where more is better, -1 where less is."""


def gradients(grey: Tensor) -> Tensor:
    """Length of the gradient of H x W, by Sobel's operator."""
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    found = F.conv2d(grey[None, None], torch.stack([across, across.T])[:, None])[0]
    return found.norm(dim=0)


def changed_by_blurring(grey: Tensor) -> float:
    """How much neighbours' differences shrink when the picture is blurred again (Crété et al., SPIE 2007): 0 to 1."""
    kept = []
    for picture in (grey, grey.T):
        smooth = F.avg_pool2d(picture[None, None], (1, 9), 1, (0, 4), count_include_pad=False)[0, 0]
        before, after = (view.diff(dim=1).abs() for view in (picture, smooth))
        kept.append(float((before - after).clamp(min=0).sum() / before.sum().clamp(min=1e-9)))
    return min(kept)


def numbers(frame: Tensor) -> dict[str, float]:
    """Every number of one frame (3 x H x W in [0, 1]) that needs no other."""
    grey = frame.mean(0)
    steep = gradients(grey)
    smooth = F.avg_pool2d(grey[None, None], 5, 1)[0, 0]
    wide = gradients(smooth)
    strongest = steep >= steep.quantile(0.9)
    return {
        "self-shift": float(self_shift_score(frame[None])[0]),
        "NIQE": niqe(frame),
        "gradient energy": float(steep.square().mean()),
        "steepest edges": edge_strength(frame),
        # An edge's height, as seen from afar, over how steep it is: its width.
        "narrowness of edges": float(steep[strongest].mean() / wide.quantile(0.9).clamp(min=1e-6)),
        "change by blurring again": changed_by_blurring(grey),
        # Krishnan et al., CVPR 2011: l1 / l2.
        "gradients relative to their spread": float(steep.mean() / steep.square().mean().sqrt().clamp(min=1e-9)),
    }


def networks(network: Placed, blurred: list[Tensor], worker: Worker) -> tuple[dict[str, nn.Module], float | None]:
    """The networks that restore a clip (3 x H x W bytes), by name; and what the guard expects the adapted one to gain.

    Where nothing can be learnt, the unadapted one is alone.
    """
    found, Watched.seen = {"unadapted": network.module}, None
    prepare(network, [PictureFootage(blurred)], OPTIONS, worker)
    seen = Watched.seen
    if seen is None:
        return found, None
    adapted, farther = (copy.deepcopy(network.module) for _ in range(2))
    adapted.load_state_dict(seen.weights)
    apart = {
        name: torch.lerp(value, seen.weights[name], TOO_FAR) if value.is_floating_point() else value
        for name, value in network.module.state_dict().items()
    }
    farther.load_state_dict(apart)
    return found | {"adapted": adapted, "too far": farther}, seen.best


def trial(
    blurred: list[Tensor], sharp: list[Tensor], exposure: Exposure, network: Placed, worker: Worker
) -> dict[str, Any]:
    """PSNR and all numbers of each result of a clip (3 x H x W bytes), of the frames in the middle of two runs."""
    modules, expected = networks(network, blurred, worker)
    seen = [frame / 255 for frame in blurred]
    around = chosen_frames(seen)
    moments, at = observed([seen[number] for number in around]), around[1::RUN]
    results = {"input": [seen[number] for number in at]}
    for name, module in modules.items():
        restorer = Restorer(module, network.spec, network.device)
        reach = restorer.window // 2
        results[name] = [restorer(seen[number - reach : number + reach + 1]) for number in at]
    rows = {}
    for name, frames in results.items():
        each = [numbers(frame) for frame in frames]
        rows[name] = {number: fmean(one[number] for one in each) for number in each[0]}
        explaining = [replace(moment, restored=frame) for moment, frame in zip(moments, frames, strict=True)]
        rows[name]["residual"] = explained(explaining, exposure)
        rows[name]["psnr"] = fmean(psnr(f, sharp[n] / 255) for f, n in zip(frames, at, strict=True))
    return {"expected": expected, "results": rows}


def filmed(data: Path, more: Path | None) -> Iterator[tuple[str, int, int, Clip, Tensor, Tensor]]:
    """The clips of both halves: half, round, seed, clip, and the photos that it is made of."""
    for half, of_half in HALVES.items():
        photos = pictures(data, more, half)
        for turn in (0, 1):
            for index, clip in enumerate(of_half):
                if clip.maker != "shake" and (not turn or clip.family in TWICE):
                    first, second = (photos[(index + step + 5 * turn) % len(photos)] for step in (0, 1))
                    yield half, turn, 1000 + index + 500 * turn, replace(clip, size=SIZE), first, second


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", type=Path, help="a folder of more sharp pictures, *_gt.png")
    parser.add_argument("--families", nargs="+", default=[], metavar="FAMILY", help="only these, for several processes")
    parser.add_argument("--state", type=Path, default=FOLDER / "no_reference.jsonl", help="what is done so far")


def done(state: Path) -> Iterator[dict[str, Any]]:
    if state.exists():
        rows = map(json.loads, state.read_text(encoding="utf-8").splitlines())
        yield from (row for row in rows if row["version"] == __version__)


def run(args: argparse.Namespace) -> list[Table]:
    meta.Guard = Watched  # type: ignore[misc]
    worker = Worker(ComputeOptions(device="cpu", dtype="fp32"))
    network = worker.place("default", "video", "deblur")
    args.state.parent.mkdir(parents=True, exist_ok=True)
    finished = {(row["half"], row["family"], row["kind"], row["round"]) for row in done(args.state)}
    for half, turn, seed, clip, photo, other in filmed(args.data, args.pictures):
        if (args.families and clip.family not in args.families) or (half, clip.family, clip.kind, turn) in finished:
            continue
        blurred, sharp = make(clip, photo, other, FRAMES, seed, None)
        exposure = Exposure(clip.opening / 2, clip.gamma)
        row: dict[str, Any] = {"version": __version__, "half": half, "family": clip.family, "kind": clip.kind}
        row |= {"round": turn} | trial(blurred, sharp, exposure, network, worker)
        with args.state.open("a", encoding="utf-8") as file:
            print(json.dumps(row), file=file, flush=True)
    return tables(list(done(args.state)))


PAIRS = {
    "input or result": [("input", "unadapted"), ("input", "adapted")],
    "unadapted or adapted": [("unadapted", "adapted")],
    "with one too far": [("input", "too far"), ("unadapted", "too far"), ("adapted", "too far")],
}
"""Kind of comparison -> the pairs of results."""


def tables(clips: list[dict[str, Any]]) -> list[Table]:
    """How often each number finds the better one, by kind of comparison, and whether it tells how much better."""
    columns = {"number": "", **dict.fromkeys([*PAIRS, "all"], ".0f"), "how much: rank correlation": "+.2f"}
    hits = Table("better of two found (%)", columns)
    counts = Table("pairs", {"comparison": "", "pairs": "d", "better by PSNR: the second (%)": ".0f"})
    usual: list[float] = []
    for kind, pairs in PAIRS.items():
        found = [gain for clip in clips for pair in pairs if (gain := gained(clip, pair, "psnr")) is not None]
        apart = [gain for gain in found if abs(gain) >= APART]
        second = 100 * fmean(gain > 0 for gain in apart)
        counts.add(kind, len(apart), second)
        usual.append(max(second, 100 - second))
    for number in (*NUMBERS, GUARD):
        by_kind = [[hit for pair in pairs for hit in hits_of(clips, pair, number)] for pairs in PAIRS.values()]
        every = [hit for kind in by_kind for hit in kind] if number != GUARD else []
        rates = [100 * fmean(kind) if kind else None for kind in (*by_kind, every)]
        hits.add(number, *rates, how_much(clips, number) if number != GUARD else None)
    weights = [row[1] for row in counts.rows]
    hits.add(USUAL, *usual, float(np.average(usual, weights=weights)), None)  # type: ignore[arg-type]
    return [counts, hits]


def gained(clip: dict[str, Any], pair: tuple[str, str], number: str) -> float | None:
    """By how much the second result of a pair is the better one by a number; None where there is none."""
    rows = clip["results"]
    if not all(name in rows for name in pair):
        return None
    if number == GUARD:
        return clip["expected"] if pair == ("unadapted", "adapted") else None
    apart: float = NUMBERS.get(number, 1) * (rows[pair[1]][number] - rows[pair[0]][number])
    return apart


def hits_of(clips: list[dict[str, Any]], pair: tuple[str, str], number: str) -> list[bool]:
    """Whether a number finds the better one, for each clip where the two are apart."""
    found = []
    for clip in clips:
        truth, said = gained(clip, pair, "psnr"), gained(clip, pair, number)
        if truth is not None and said is not None and abs(truth) >= APART:
            found.append((truth > 0) == (said > 0))
    return found


def how_much(clips: list[dict[str, Any]], number: str) -> float:
    """Rank correlation of what a number gains with what PSNR gains, from the input to the unadapted result."""
    pair = ("input", "unadapted")
    pairs = [(gained(clip, pair, "psnr"), gained(clip, pair, number)) for clip in clips]
    return rank_correlation(*(list(each) for each in zip(*pairs, strict=True)))
