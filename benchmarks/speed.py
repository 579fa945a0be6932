"""Seconds per frame at 1280x720: networks alone in fp32 and in the default precision, and the whole program.

    python benchmarks/speed.py [FRAMES]              24 if not given

What is compared is timed in turn, so that ratios hold on a noisy machine.
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

NETWORKS = {"single frame": "plain-unet", "video": "video-unet"}


def network_seconds(rounds: int = 7) -> dict[str, float]:
    """Median seconds per frame of a video by network and precision."""
    runs, times = {}, {}
    for name, weights in NETWORKS.items():
        for device in (pick_device("auto", "fp32"), pick_device()):
            loaded = load_network(weights, role="deblur")
            row = f"{name} network, {device}"
            runs[row], times[row] = Restorer(device.place(loaded.module), loaded.spec, device), []
    frames = list(torch.rand(rounds + 3, 3, 720, 1280))
    for start in range(rounds + 1):
        for row, run in runs.items():
            started = time.perf_counter()
            run(frames[start : start + run.window])
            times[row].append(time.perf_counter() - started)
    # In the first round all frames of a window are new; later, as in a video, one is.
    return {row: median(found[1:]) for row, found in times.items()}


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    found = network_seconds()
    memory.SIZE = (1280, 720)
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "in.mp4"
        memory.make_clip(source, count)
        for name, weights in NETWORKS.items():
            facts = deblur_video(source, Path(work) / f"{name}.mp4", method="none", network=weights).facts
            found[f"whole program, {name} network, {count} frames"] = facts["seconds"] / count
    print("| what | seconds per frame |\n|---|---|")
    for row, seconds in found.items():
        print(f"| {row} | {seconds:.3f} |")
