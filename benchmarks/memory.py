"""Peak resident memory of `deblur video` on a short and on a long clip.

python benchmarks/memory.py [SHORT LONG] [--method none|meta]        frames, 300 and 1500 if not given
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np

SIZE = (640, 360)
MEASURED = """
import resource, sys
from deblurcli.cli import run
code = run(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "KiB")
sys.exit(code)
"""


def encode(path: Path, views: Iterable[np.ndarray], **options: str) -> None:
    """Write RGB pictures (H x W x 3 bytes) as H.264 at 25 frames/s, with options of libx264."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options=options)
        stream.pix_fmt = "yuv420p"
        for index, view in enumerate(views):
            if not index:
                stream.height, stream.width = view.shape[:2]
            output.mux(stream.encode(av.VideoFrame.from_ndarray(view, "rgb24")))
        output.mux(stream.encode(None))


def make_clip(path: Path, frames: int) -> None:
    """A drifting texture, encoded to decode fast."""
    rng = np.random.default_rng(1)
    texture = np.kron(rng.integers(0, 255, (130, 200, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    corners = ((index % 300, index // 2 % 300) for index in range(frames))
    views = (np.ascontiguousarray(texture[y : y + SIZE[1], x : x + SIZE[0]]) for x, y in corners)
    encode(path, views, preset="ultrafast")


def peak(frames: int, folder: Path, method: str) -> float:
    """MiB at the peak of one run in a process of its own."""
    source, result = folder / f"{frames}.mp4", folder / f"{frames}-out.mp4"
    make_clip(source, frames)
    command = [sys.executable, "-c", MEASURED, "video", str(source), "-o", str(result), "--method", method, "-q"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"peak (\d+) KiB", output)
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("frames", type=int, nargs="*", default=[300, 1500], metavar="FRAMES")
    parser.add_argument("--method", default="none")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        peaks = [peak(frames, Path(work), args.method) for frames in args.frames]
    print("| frames | peak memory (MiB) |\n|---|---|")
    for frames, found in zip(args.frames, peaks, strict=True):
        print(f"| {frames} | {found:.0f} |")
    print(f"| difference | {peaks[-1] - peaks[0]:.0f} |")
