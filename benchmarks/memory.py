"""Peak resident memory of `deblur video` on a short and on a long clip, and of `deblur image`."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks.clips import drifting
from benchmarks.results import Table
from deblurcli.media.images import Image, write_image

MEASURED = """
import sys
from pathlib import Path
from deblurcli.cli.app import run
code = run(sys.argv[1:])
print("peak", Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0], "KiB")
sys.exit(code)
"""
"""Linux. What ``getrusage`` tells may be the peak of the process that started this one."""


def peak(source: Path, command: str, options: list[str]) -> float:
    """MiB at the peak of one run in a process of its own."""
    result = source.with_stem(f"{source.stem}-out")
    run = [sys.executable, "-c", MEASURED, command, str(source), "-o", str(result), *options, "-q"]
    output = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    found = re.search(r"peak (\d+) KiB", output)
    assert found is not None
    return int(found[1]) / 1024


def photo(path: Path, size: tuple[int, int]) -> None:
    """A picture with detail everywhere, enlarged noise."""
    width, height = size
    small = np.random.default_rng(1).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    write_image(path, Image(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("frames", type=int, nargs="*", default=[300, 1500], metavar="FRAMES", help="of the clips")
    parser.add_argument("--method", default="none")
    parser.add_argument("--size", default="640x360", metavar="WxH")
    parser.add_argument("--picture", action="store_true", help="a picture of this size, too")


def run(options: argparse.Namespace) -> list[Table]:
    width, height = map(int, options.size.split("x"))
    columns = {f"frames of {options.size}": "", "peak memory (MiB)": ".0f"}
    table = Table(f"method {options.method}, {options.size}", columns)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        for frames in options.frames:
            drifting(folder / f"{frames}.mp4", frames, (width, height))
            table.add(frames, peak(folder / f"{frames}.mp4", "video", ["--method", options.method]))
        if options.picture:
            photo(folder / "photo.png", (width, height))
            table.add("a picture", peak(folder / "photo.png", "image", []))
    return [table]
