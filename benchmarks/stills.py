"""What networks make of EVAL/gopro_stills, by the tool's own commands: fidelity, and how it looks.

NETWORK is a registered name or a file of weights. LPIPS needs its weights (`deblur weights pull lpips-alex`), or FILE.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.results import Table
from deblurcli import deblur_image, measure

SCORES = {"psnr": ("PSNR (dB)", ".2f"), "ssim": ("SSIM", ".4f"), "lpips": ("LPIPS", ".4f"), "niqe": ("NIQE", ".3f")}


def pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Blurred picture and sharp reference, ``X.png`` and ``X_gt.png``, of every still in a folder."""
    references = sorted(folder.glob("*_gt.png"))
    return [(reference.with_name(reference.name.replace("_gt", "")), reference) for reference in references]


def measured(network: str | None, found: Sequence[tuple[Path, Path]], lpips: str, work: Path) -> list[float]:
    """The means of ``SCORES`` over pictures and their references: restored by a network, or as they are."""
    rows = []
    for picture, reference in found:
        if network is not None:
            deblur_image(picture, work / "out.png", network=network, overwrite=True)
            picture = work / "out.png"
        rows.append(measure(picture, reference, niqe=True, lpips=lpips))
    return [fmean(row[name] for row in rows) for name in SCORES]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("eval", type=Path)
    parser.add_argument("networks", nargs="+", metavar="NETWORK")
    parser.add_argument("--lpips", default="alex", metavar="FILE")


def run(options: argparse.Namespace) -> list[Table]:
    table = Table("networks", {"network": "", **dict(SCORES.values())})
    found = pairs(options.eval / "gopro_stills")
    with tempfile.TemporaryDirectory() as work:
        for network in ("input", *options.networks):
            scores = measured(None if network == "input" else network, found, options.lpips, Path(work))
            table.add(network, *scores)
    return [table]
