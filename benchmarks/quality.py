"""PSNR, SSIM and flicker on the development sets: the blurred input and every method, by the tool's own commands.

EVAL holds gopro_video/{blur7,blur11,sharp}.mkv, and gopro_stills/X.png with X_gt.png. Without methods: none with the
single-frame network, then none and meta with the default one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean

from benchmarks.results import Table
from benchmarks.stills import pairs
from deblurcli import deblur_image, deblur_video, measure

COLUMNS = {"set": "", "what": "", "PSNR (dB)": ".2f", "SSIM": ".4f", "flicker": ".2f", "of the sharp clip": ".2f"}


def figures(facts: dict[str, float]) -> tuple[float | None, ...]:
    return tuple(facts.get(key) for key in ("psnr", "ssim", "flicker", "flicker_reference"))


def videos(folder: Path, work: Path, methods: list[str], table: Table) -> None:
    sharp = folder / "sharp.mkv"
    for name in ("blur11", "blur7", "sharp"):
        source = folder / f"{name}.mkv"
        if name != "sharp":
            table.add(name, "input", *figures(measure(source, sharp)), None)
        for method in methods:
            started = time.monotonic()
            how, _, network = method.partition(":")
            deblur_video(
                source, work / "out.mkv", method=how, network=network or "default", codec="ffv1", overwrite=True
            )
            seconds = time.monotonic() - started
            table.add(name, method, *figures(measure(work / "out.mkv", sharp)), seconds)


def stills(folder: Path, work: Path, table: Table) -> None:
    before, after = [], []
    started = time.monotonic()
    for blurred, reference in pairs(folder):
        deblur_image(blurred, work / "out.png", overwrite=True)
        before.append(measure(blurred, reference))
        after.append(measure(work / "out.png", reference))
        print(f"{blurred.name}: {before[-1]['psnr']:.2f} -> {after[-1]['psnr']:.2f} dB", file=sys.stderr)

    def mean(rows: list[dict[str, float]]) -> dict[str, float]:
        return {key: fmean(row[key] for row in rows) for key in ("psnr", "ssim")}

    seconds = time.monotonic() - started
    table.add("stills", "input", *figures(mean(before)), None)
    table.add("stills", "deblur image", *figures(mean(after)), seconds)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("eval", type=Path)
    parser.add_argument("methods", nargs="*", default=["none:plain-unet", "none", "meta"], metavar="METHOD[:NETWORK]")


def run(options: argparse.Namespace) -> list[Table]:
    table = Table("methods", COLUMNS | {"time (s)": ".0f"})
    with tempfile.TemporaryDirectory() as work:
        videos(options.eval / "gopro_video", Path(work), options.methods, table)
        stills(options.eval / "gopro_stills", Path(work), table)
    return [table]
