"""Peak resident memory of `deblur video` on a short and on a long clip."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.clips import drifting
from benchmarks.results import Table

SIZE = (640, 360)
MEASURED = """
import resource, sys
from deblurcli.cli.app import run
code = run(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "KiB")
sys.exit(code)
"""


def peak(frames: int, folder: Path, method: str) -> float:
    """MiB at the peak of one run in a process of its own."""
    source, result = folder / f"{frames}.mp4", folder / f"{frames}-out.mp4"
    drifting(source, frames, SIZE)
    command = [sys.executable, "-c", MEASURED, "video", str(source), "-o", str(result), "--method", method, "-q"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"peak (\d+) KiB", output)
    assert found is not None
    return int(found[1]) / 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("frames", type=int, nargs="*", default=[300, 1500], metavar="FRAMES", help="of the clips")
    parser.add_argument("--method", default="none")


def run(options: argparse.Namespace) -> list[Table]:
    table = Table(f"method {options.method}", {"frames of 640x360": "d", "peak memory (MiB)": ".0f"})
    with tempfile.TemporaryDirectory() as work:
        for frames in options.frames:
            table.add(frames, peak(frames, Path(work), options.method))
    return [table]
