"""Frames per second at 1280x720: the network alone in fp32 and in the default precision, and the whole program.

    python benchmarks/speed.py [FRAMES]              24 if not given

The network's two precisions are timed in turn, so that their ratio holds on a noisy machine.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import memory
import torch

from deblurcli import deblur_video
from deblurcli.device import pick_device
from deblurcli.restore.tiles import Restorer
from deblurcli.weights.load import load_network


def network_seconds(rounds: int = 7) -> tuple[float, float]:
    """Median seconds per frame in fp32 and in the default precision."""
    loaded, clip = load_network("plain-unet", role="deblur"), torch.rand(1, 3, 720, 1280)
    devices = [pick_device("auto", "fp32"), pick_device()]
    runs = [Restorer(d.place(loaded.module), loaded.spec, d) for d in devices]
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for run, found in zip(runs, times, strict=True):
            started = time.perf_counter()
            run(clip)
            found.append(time.perf_counter() - started)
    return median(times[0][1:]), median(times[1][1:])


if __name__ == "__main__":
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    exact, default = network_seconds()
    memory.SIZE = (1280, 720)
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "in.mp4"
        memory.make_clip(source, frames)
        facts = deblur_video(source, Path(work) / "out.mp4", method="none").facts
    print("| what | seconds per frame |\n|---|---|")
    print(f"| network, fp32 | {exact:.3f} |\n| network, {pick_device()} | {default:.3f} |")
    print(f"| ratio fp32 / default | {exact / default:.2f} |")
    print(f"| whole program, {frames} frames | {facts['seconds'] / frames:.3f} |")
