"""What adapting gains on clips of many kinds with exact truth, and whether the guard knows.

The clips make families that differ in one thing each.

DATA is the folder of training material: the photos that training keeps for validation are filmed; more sharp pictures
may be given. Half of the families and of the pictures are for tuning (--half tuned). The other half is looked at once
for each version, and reported whole. `--half real` takes real videos instead: blur is rendered from the frames of sharp
ones (--videos), or read with its truth (--pairs).

Every clip is a process's work of about a minute; what is done is kept in a file, and the same command goes on from
there. Reported, in dB: the unadapted network, what each variant adds to it, what the guard expected, and what it would
have been without its verdict.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import isnan, nan
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from torch import Tensor, nn

from benchmarks.cameras import HALVES, Clip, Frames, clips
from benchmarks.real_videos import clips as real_clips
from benchmarks.results import FOLDER, Table
from deblurcli.adaptation.guard import Guard
from deblurcli.adaptation.outcome import PreparedNetwork
from deblurcli.media.footage import PictureFootage
from deblurcli.media.images import read_image
from deblurcli.media.shots import windows
from deblurcli.methods import meta, prepare, reblur2deblur
from deblurcli.metrics import fidelity
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.meta import MetaOptions
from deblurcli.options.reblur2deblur import Reblur2DeblurOptions
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Placed, Worker
from deblurcli.train.material import is_held_out
from deblurcli.version import __version__

VARIANTS: dict[str, tuple[Any, ...]] = {
    "default": (MetaOptions(),),
    "own weights": (MetaOptions(initial="own"),),
    "camera": (MetaOptions(reblurring="camera"),),
    "network": (MetaOptions(reblurring="network"),),
    "network, cycle loss alone": (MetaOptions(reblurring="network", cycle_weight=1.0),),
    "network, critic alone": (MetaOptions(reblurring="network", cycle_weight=0.0),),
    "network, at 3e-5": (MetaOptions(reblurring="network", rate=3e-5),),
    "network, as in the paper": (
        MetaOptions(reblurring="network", pseudo_sharp="video", patches=20, steps="20", rate=2.5e-6, crop=256),
    ),
    "no identity pairs": (MetaOptions(identity=0.0),),
    "a quarter replayed": (MetaOptions(replay=0.25),),
    "80 updates": (MetaOptions(steps="80"),),
    "fusion too": (MetaOptions(part="fusion"),),
    "0.1.0": (MetaOptions(reblurring="camera", guard="agreement", rate=1.5e-5, identity=0.0, crop=256, steps="80"),),
    "reblur2deblur": (Reblur2DeblurOptions(),),
    "meta, then reblur2deblur": (MetaOptions(), Reblur2DeblurOptions(initial="own")),
}
"""The options of one method, or of several, of which each starts from the network that the one before adapted."""
REAL = "real"
"""The half of real videos."""
SMALLEST = 500
"""Height, in pixels, of the pictures that are filmed, at least."""


RUNS, RUN = 3, 5
"""Runs of frames that are scored, and the frames of each."""


class Watched(Guard):
    """A guard that can be asked afterwards what it saw."""

    seen: Guard | None = None

    def look(self, step: int) -> bool:
        Watched.seen = self
        return super().look(step)


def pictures(data: Path, more: Path | None, half: str) -> list[Tensor]:
    """The pictures to film: every other one."""
    files = [file for file in sorted((data / "photos").iterdir()) if is_held_out(file.name)]
    files += [] if more is None else sorted(more.glob("*_gt.png"))
    kept = [picture for picture in (read_image(file).rgb() for file in files) if picture.shape[1] > SMALLEST]
    return kept[sorted(HALVES).index(half) :: 2]


def psnr(
    network: Placed, module: nn.Module, blurred: Frames, sharp: Frames, runs: int = RUNS, length: int = RUN
) -> float:
    """Mean over some runs of frames, evenly spread: neighbours share work."""
    restorer = Restorer(module, network.spec, network.device)
    found = windows([frame / 255 for frame in blurred], restorer.window, lambda _: False)
    first = [(2 * run + 1) * len(sharp) // (2 * runs) - length // 2 for run in range(runs)]
    scored = {frame for start in first for frame in range(start, start + length)}
    pairs = enumerate(zip(found, sharp, strict=True))
    return fmean(fidelity.psnr(restorer(window), s / 255) for at, ((_, window), s) in pairs if at in scored)


def trial(
    network: Placed, worker: Worker, chosen: tuple[Any, ...], blurred: Frames, sharp: Frames, before: float
) -> dict[str, Any]:
    """Adapt to a clip; what came of it. ``chosen``: a variant. ``before``: PSNR of the unadapted network."""
    footage, seconds, expected = PictureFootage(blurred), 0.0, 0.0
    adapted, outcomes = network, []
    for options in chosen:
        Watched.seen, started = None, time.monotonic()
        prepared = prepare(adapted, [footage], options, worker)
        seconds += time.monotonic() - started
        assert isinstance(prepared, PreparedNetwork) and prepared.outcome is not None
        outcomes.append(prepared.outcome)
        if prepared.outcome.kept:
            adapted = replace(adapted, module=prepared.module)
        if Watched.seen is not None and options is not chosen[-1]:
            expected += Watched.seen.best if prepared.outcome.kept else 0.0
    kept, facts = any(outcome.kept for outcome in outcomes), outcomes[-1].facts
    result = {
        "unadapted": before,
        "gain": psnr(network, adapted.module, blurred, sharp) - before if kept else 0.0,
        "kept": kept,
        "reason": outcomes[-1].reason,
        "expected": None,
        "unguarded": None,
        "seconds": seconds,
        "facts": {name: facts[name] for name in ("gain", "looks", "strata", "flow")},
    }
    if Watched.seen is not None:
        seen = Watched.seen
        ended = seen.network
        ended.load_state_dict(seen.weights)
        result["expected"] = expected + seen.best
        last = outcomes[-1].kept
        result["unguarded"] = result["gain"] if last else psnr(network, ended, blurred, sharp) - before
    return result


def rank_correlation(one: list[float], other: list[float]) -> float:
    """Spearman's."""
    ranks = np.array([one, other]).argsort(1).argsort(1)
    return float(np.asarray(np.corrcoef(ranks))[0, 1])


def add_clips(parser: argparse.ArgumentParser, name: str, frames: int) -> None:
    """The arguments that say which clips, for a benchmark of this name."""
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", type=Path, help="a folder of more sharp pictures, *_gt.png")
    parser.add_argument("--half", choices=(*HALVES, REAL), default="tuned")
    parser.add_argument(
        "--videos", nargs="+", default=[], metavar="FILE[@FIRST]", help="sharp videos, for the half real"
    )
    parser.add_argument("--pairs", nargs=2, action="append", default=[], metavar=("BLURRED", "SHARP"))
    parser.add_argument("--frames", type=int, default=frames)
    parser.add_argument("--shake", type=Path, help="a program that makes shaky clips; without it there are none of its")
    parser.add_argument("--state", type=Path, default=FOLDER / f"{name}.jsonl", help="what is done so far")


def made_clips(args: argparse.Namespace, wanted: Callable[[int, Clip], bool]) -> Iterator[tuple[Clip, Frames, Frames]]:
    """The clips of a half that are wanted: blurred and sharp."""
    if args.half == REAL:
        return real_clips(args.videos, args.pairs, args.frames, wanted)
    return clips(args.half, pictures(args.data, args.pictures, args.half), args.frames, args.shake, wanted)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_clips(parser, "families", 40)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["default"], metavar="VARIANT")
    parser.add_argument("--families", nargs="+", default=[], metavar="FAMILY", help="only these")
    parser.add_argument("--network", default="default")
    parser.add_argument("--reblur", help="weights of the reblurring network; the bundled one if not given")
    parser.add_argument("--part", default="1/1", help="I/N: every N-th clip from the I-th, for several processes")
    parser.add_argument("--title", help="what the titles of the tables begin with; the half where not given")


def done(state: Path) -> Iterator[dict[str, Any]]:
    if state.exists():
        for line in state.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["version"] == __version__:
                yield row


def run(args: argparse.Namespace) -> list[Table]:
    meta.Guard = reblur2deblur.Guard = Watched  # type: ignore[misc]
    worker = Worker(ComputeOptions())
    network = worker.place(args.network, "video", "deblur")
    first, step = map(int, args.part.split("/"))
    finished = {(row["half"], row["family"], row["kind"], row["variant"]) for row in done(args.state)}
    args.state.parent.mkdir(parents=True, exist_ok=True)

    def with_reblur(options: Any) -> Any:
        learnt = args.reblur and isinstance(options, MetaOptions) and options.learnt
        return replace(options, reblur=args.reblur) if learnt else options

    variants = {name: tuple(map(with_reblur, VARIANTS[name])) for name in args.variants}

    def missing(clip: Clip) -> list[str]:
        return [name for name in args.variants if (args.half, clip.family, clip.kind, name) not in finished]

    def wanted(index: int, clip: Clip) -> bool:
        mine = index % step == first - 1 and (not args.families or clip.family in args.families)
        return mine and bool(missing(clip))

    for clip, blurred, sharp in made_clips(args, wanted):
        before = nan
        for variant in missing(clip):
            key = {"half": args.half, "family": clip.family, "kind": clip.kind, "variant": variant}
            before = psnr(network, network.module, blurred, sharp) if isnan(before) else before
            row = {"version": __version__, **key, **trial(network, worker, variants[variant], blurred, sharp, before)}
            with args.state.open("a", encoding="utf-8") as file:
                print(json.dumps(row), file=file, flush=True)
    rows = [row for row in done(args.state) if row["half"] == args.half]
    return tables(args.title or args.half, rows) if first == step else []


def tables(title: str, rows: list[dict[str, Any]]) -> list[Table]:
    """Every clip, and the means by family, for each variant."""
    variants = [name for name in VARIANTS if any(row["variant"] == name for row in rows)]
    by_clip: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_clip.setdefault((row["family"], row["kind"]), {})[row["variant"]] = row
    gains = dict.fromkeys(variants, "+.2f")
    clips_table = Table(f"{title}: gain (dB)", {"family": "", "clip": "", "unadapted (dB)": ".2f"} | gains)
    for (family, kind), found in by_clip.items():
        cells = [found[name]["gain"] if name in found else None for name in variants]
        clips_table.add(family, kind, next(iter(found.values()))["unadapted"], *cells)
    families = Table(f"{title}: mean gain by family (dB)", {"family": "", "clips": "d"} | gains)
    for family in dict.fromkeys(name for name, _ in by_clip):
        members = [found for (name, _), found in by_clip.items() if name == family]
        families.add(family, len(members), *(_mean(members, name, "gain") for name in variants))
    families.add("all", len(by_clip), *(_mean(list(by_clip.values()), name, "gain") for name in variants))
    columns = {"variant": "", "clips": "d", "mean (dB)": "+.3f", "least (dB)": "+.3f", "without verdict (dB)": "+.3f"}
    columns |= {"rank correlation": ".2f", "kept": "d", "gains thrown away": "d", "losses kept": "d", "time (s)": ".0f"}
    verdicts = Table(f"{title}: verdicts", columns)
    for name in variants:
        mine = [found[name] for found in by_clip.values() if name in found]
        judged = [row for row in mine if row["expected"] is not None]
        pairs = [(row["expected"], row["unguarded"]) for row in judged]
        verdicts.add(
            name,
            len(mine),
            fmean(row["gain"] for row in mine),
            min(row["gain"] for row in mine),
            fmean(row["unguarded"] or 0.0 for row in mine),
            rank_correlation(*map(list, zip(*pairs, strict=True))) if len(pairs) > 2 else None,
            sum(row["kept"] for row in mine),
            sum(not row["kept"] and row["unguarded"] > 0.03 for row in judged),
            sum(row["gain"] < -0.03 for row in mine),
            fmean(row["seconds"] for row in mine),
        )
    return [clips_table, families, verdicts]


def _mean(members: list[dict[str, dict[str, Any]]], variant: str, what: str) -> float | None:
    found = [clip[variant][what] for clip in members if variant in clip]
    return fmean(found) if found else None
