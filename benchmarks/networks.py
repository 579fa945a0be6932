"""Every deblurring network under none, meta and tta, through `deblur evaluate`: finite, guarded, time and memory.

One small clip: frames of the GoPro video, cut to 192x128. Networks whose weights are not here have random ones, which
show that a network adapts and what that costs; their PSNR says nothing. Each run is a process of its own, on one core;
the processor time is that of all it does: it begins, adapts and restores.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import resource
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import torch

from benchmarks import results
from benchmarks.results import Table
from deblurcli.media.footage import VideoFootage
from deblurcli.networks import NETWORKS
from deblurcli.weights import registry
from deblurcli.weights.save import save_network

WIDTH, HEIGHT, LEFT, TOP = 192, 128, 768, 320
METHODS = {
    "none": ["--method", "none"],
    "meta": ["--method", "meta", "--steps", "4", "--patches", "4", "--patch-size", "96"],
    "tta": ["--method", "tta", "--steps", "2"],
}
MEASURED = """
import sys
from pathlib import Path
from deblurcli.cli.app import run
code = run(sys.argv[1:])
print(Path("/proc/self/status").read_text())
sys.exit(code)
"""
"""Of this process alone: what getrusage says begins with what its parent had."""
PARTIAL = 3
"""Exit code where frames came out broken and were replaced."""
FIRST = 10
"""Frame of the clip that the piece begins with."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("clip", type=Path, help="the folder with blur11.mkv and sharp.mkv")
    parser.add_argument("--official", action="append", default=[], metavar="PATH", help="files or folders of weights")
    parser.add_argument("--networks", nargs="+", default=[], metavar="NAME", help="only these")
    parser.add_argument("--frames", type=int, default=5)


def pieces(clip: Path, top: Path, frames: int) -> Path:
    """The piece of the clip as a dataset in GoPro's layout."""
    for name, folder in (("blur11", "blur"), ("sharp", "sharp")):
        shown = islice(VideoFootage(clip / f"{name}.mkv").pictures(), FIRST, FIRST + frames)
        for number, frame in enumerate(shown, 1):
            path = top / "test" / "piece" / folder / f"{number:06}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            piece = frame[:, TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]
            samples = (piece * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
            cv2.imwrite(str(path), samples[:, :, ::-1])
    return top


def weights_of(network: str, folder: Path) -> tuple[str, str]:
    """What to give to --network, and what it is: bundled weights, or a file of random ones."""
    entry = registry.installed().weights.get(network)
    if entry is not None and entry.bundled:
        return network, "bundled"
    torch.manual_seed(0)
    path, config = folder / f"{network}.safetensors", NETWORKS[network].config or {}
    save_network(path, NETWORKS[network].build(**config), network=network, config=config, card={})
    return str(path), "random"


def measured(dataset: Path, chosen: str, method: str, out: Path) -> tuple[dict[str, Any], float, float]:
    """The row of one evaluation, its seconds of processor time, and the MiB at its peak."""
    words = ["evaluate", str(dataset), "--layout", "gopro", "-o", str(out), "--network", chosen, *METHODS[method]]
    words += ["--lpips", "off", "--device", "cpu", "-q"]
    environment, before = os.environ | {"OMP_NUM_THREADS": "1"}, resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(
        [sys.executable, "-c", MEASURED, *words], check=False, capture_output=True, text=True, env=environment
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = re.search(r"VmHWM:\s+(\d+) kB", run.stdout)
    if run.returncode not in (0, PARTIAL) or found is None:
        raise RuntimeError(f"{chosen}, {method}: code {run.returncode}: {run.stderr[-500:]}")
    (row,) = (json.loads(line) for line in (out / "state.jsonl").read_text(encoding="utf-8").splitlines())
    return row, seconds, int(found[1]) / 1024


def run(options: argparse.Namespace) -> list[Table]:
    columns = {"network": "", "weights": "", "method": "", "PSNR (dB)": ".2f", "gain (dB)": "+.2f"}
    columns |= {"sound": "", "adaptation": "", "processor time (s)": ".0f", "peak memory (MiB)": ".0f"}
    table = Table(f"a piece of {WIDTH}x{HEIGHT}", columns)
    stored = results.read("networks").get(table.title, {"rows": []})["rows"]
    known = [name for name, spec in NETWORKS.items() if spec.role == "deblur"]
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        dataset = pieces(options.clip, folder / "data", options.frames)
        tried = [(Path(path).name, path, "official") for path in options.official]
        tried += [(name, *weights_of(name, folder)) for name in options.networks or known]
        for name, chosen, kind in tried:
            before = math.nan
            for method in METHODS:
                row, seconds, peak = measured(dataset, chosen, method, folder / f"{name}-{kind}-{method}")
                psnr = row["scores"]["psnr"]
                before = psnr if method == "none" else before
                adapted = "kept" if row["adapted"] else "undone" if row["undone"] else None
                sound = "yes" if math.isfinite(psnr) and not row["replaced"] else f"{row['replaced']} frames replaced"
                gain = psnr - before if method != "none" else None
                table.add(name, kind, method, psnr, gain, sound, adapted, seconds, peak)
    measured_now = {(row[0], row[1]) for row in table.rows}
    table.rows = [row for row in stored if (row[0], row[1]) not in measured_now] + table.rows
    return [table]
