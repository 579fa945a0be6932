"""What adapting costs at 1280x720: the survey against decoding alone, and the inner update against restoring 60 frames.

What is compared is timed in turn, so that ratios hold on a noisy machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.clips import drifting, encode
from benchmarks.results import Table
from deblurcli.adaptation.survey import HELD_OUT, survey
from deblurcli.console import Reporter
from deblurcli.media.footage import VideoFootage
from deblurcli.methods.meta import adapt
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.meta import MetaOptions
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Worker
from deblurcli.synth.pairs import shaken

ROUNDS = 3
SURVEY_COLUMNS = {"survey (ms a frame)": ".1f", "decoding to RGB (ms a frame)": ".1f", "ratio": ".2f"}
OPTIONS = MetaOptions()
LOCATIONS = OPTIONS.patches + HELD_OUT


def make_shaken(path: Path, frames: int) -> None:
    """A picture with as much fine detail as photos have, shaken by hand, with noise, as libx264 encodes by default."""
    rng = np.random.default_rng(1)
    rows, columns = np.fft.fftfreq(784)[:, None], np.fft.rfftfreq(1344)
    spectrum = np.fft.rfft2(rng.standard_normal((3, 784, 1344))) / np.maximum(np.hypot(rows, columns), 1e-3)
    texture = np.fft.irfft2(spectrum, (784, 1344))
    picture = torch.from_numpy(texture / texture.std() * 0.2 + 0.5).float().clamp(0, 1)
    shots = [(blurred * 255).round().byte() for blurred, _ in shaken(picture, 40, 25, 8, 1, 2.2, 0.008)]
    there_and_back = [*shots, *shots[-2:0:-1]]
    views = (shot.permute(1, 2, 0).contiguous().numpy() for shot in islice(cycle(there_and_back), frames))
    encode(path, views)


def make_simple(path: Path, frames: int) -> None:
    """A drifting pattern in the kind of H.264 that decodes fastest."""
    drifting(path, frames, (1280, 720))


CLIPS = {"footage": make_shaken, "a drifting pattern, encoded to decode fast": make_simple}


def survey_seconds(make: Callable[[Path, int], None], frames: int) -> tuple[float, float, float]:
    """Median seconds of decoding a clip of so many frames to RGB as restoring does, in float32, and of surveying it,
    and the Mbit/s of the clip. The survey converts to RGB in bytes, on a thread of its own.
    """
    decoding, surveying = [], []
    with tempfile.TemporaryDirectory() as work:
        clip = Path(work) / "clip.mp4"
        make(clip, frames)
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in VideoFootage(clip).pictures():
                pass
            decoding.append(time.perf_counter() - started)
            started = time.perf_counter()
            survey(VideoFootage(clip).previews(), patches=LOCATIONS, size=256, seed=1)
            surveying.append(time.perf_counter() - started)
        rate = clip.stat().st_size * 8 * 25 / frames / 1e6
    return median(decoding), median(surveying), rate


def adaptation_seconds(weights: str) -> tuple[float, float]:
    """Seconds of adapting a network with the default options, and of restoring 60 frames with it."""
    network = Worker(ComputeOptions()).place(weights, "video", "deblur")
    coarse = torch.rand(1, 3, 98, 168, generator=torch.Generator().manual_seed(1))
    picture = F.interpolate(coarse, (784, 1344), mode="bicubic")[0].clamp(0, 1)
    frames = [blurred for blurred, _ in shaken(picture, 9, 25, 14, 1, 3.0, 0.02)]
    found = survey(frames, patches=LOCATIONS, size=256, seed=1)
    started = time.perf_counter()
    _, done = adapt(network, found, OPTIONS, Reporter.silent())
    adapting = time.perf_counter() - started
    assert len(done.losses["deblur_losses"]) == OPTIONS.updates, done.reason
    restorer = Restorer(network.module, network.spec, network.device)
    reach = restorer.window // 2
    window = [frames[0]] * (2 * reach + 1)
    started = time.perf_counter()
    for index in range(60):
        window = [*window[1:], frames[index % len(frames)].clone()]
        restorer(window)
    return adapting, time.perf_counter() - started


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("frames", type=int, nargs="?", default=300, metavar="FRAMES", help="of the surveyed clip")


def run(options: argparse.Namespace) -> list[Table]:
    looks = Table("survey", {"clip": "", "Mbit/s": ".0f"} | SURVEY_COLUMNS)
    for kind, make in CLIPS.items():
        decoding, surveying, rate = survey_seconds(make, options.frames)
        frame = 1000 / options.frames
        looks.add(kind, rate, surveying * frame, decoding * frame, surveying / decoding)
    updates = Table(
        "adapting", {"network": "", "adapting (s)": ".1f", "restoring 60 frames (s)": ".1f", "ratio": ".2f"}
    )
    for name in ("plain-unet", "video-unet"):
        adapting, restoring = adaptation_seconds(name)
        updates.add(name, adapting, restoring, adapting / restoring)
    return [looks, updates]
