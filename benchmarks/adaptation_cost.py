"""What adapting costs: the survey against decoding alone, and adapting against restoring.

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
from torch import Tensor

from benchmarks.clips import drifting, encode
from benchmarks.results import Table
from deblurcli.adaptation.survey import HELD_OUT, survey
from deblurcli.console import Reporter
from deblurcli.media.footage import VideoFootage
from deblurcli.media.shots import windows
from deblurcli.methods.meta import adapt, initial_weights
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.meta import MetaOptions
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Worker
from deblurcli.synth.pairs import MARGIN, shaken

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


SIZES = {
    "1280x720, 60 frames": (720, 1280, 60),
    "448x256, 72 frames": (256, 448, 72),
    "448x256, 30 frames": (256, 448, 30),
}
"""Videos to adapt to: height, width and number of frames."""
MOST_FRAMES = 30
"""Of 1280x720: adapting to a video may take as long as restoring these, or twice the time of the video."""


def shaken_frames(height: int, width: int, count: int) -> list[Tensor]:
    """Frames of a smooth picture shaken by hand, 3 x H x W bytes."""
    coarse = torch.rand(1, 3, height // 7, width // 7, generator=torch.Generator().manual_seed(1))
    size = (height + 2 * MARGIN, width + 2 * MARGIN)
    picture = F.interpolate(coarse, size, mode="bicubic")[0].clamp(0, 1)
    shots = [(blurred * 255).round().byte() for blurred, _ in shaken(picture, 20, 25, 14, 1, 3.0, 0.02)]
    return [shots[index % len(shots)] for index in range(count)]


def adaptation_seconds(weights: str, height: int, width: int, count: int) -> tuple[int, float, float]:
    """Updates and seconds of adapting a network with the default options, and the seconds that it may take: those of
    restoring 30 frames of 1280x720 with the same network, or the video twice if that is less."""
    worker = Worker(ComputeOptions())
    network = worker.place(weights, "video", "deblur")
    frames = shaken_frames(height, width, count)
    initial = initial_weights(network, OPTIONS, worker)
    started = time.perf_counter()
    found = survey(frames, patches=LOCATIONS, size=OPTIONS.patch_size, seed=1)
    _, done = adapt(network, found, OPTIONS, Reporter.silent(), initial=None if initial is None else initial.module)
    adapting = time.perf_counter() - started
    restorer = Restorer(network.module, network.spec, network.device)
    # Every frame a tensor of its own, since the restorer knows those that it has seen.
    pictures = [(frame / 255).clone() for frame in frames[:MOST_FRAMES]]
    started = time.perf_counter()
    for _, window in windows(pictures, restorer.window, lambda _: False):
        restorer(window)
    restoring = (time.perf_counter() - started) / len(pictures)
    allowed = restoring * min(MOST_FRAMES * 720 * 1280 / (height * width), 2 * count)
    return len(done.losses["deblur_losses"]), adapting, allowed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("frames", type=int, nargs="?", default=300, metavar="FRAMES", help="of the surveyed clip")


def run(options: argparse.Namespace) -> list[Table]:
    looks = Table("survey", {"clip": "", "Mbit/s": ".0f"} | SURVEY_COLUMNS)
    for kind, make in CLIPS.items():
        decoding, surveying, rate = survey_seconds(make, options.frames)
        frame = 1000 / options.frames
        looks.add(kind, rate, surveying * frame, decoding * frame, surveying / decoding)
    columns = {"network": "", "video": "", "updates": "d", "adapting (s)": ".1f", "may take (s)": ".1f", "ratio": ".2f"}
    updates = Table("adapting", columns)
    for name in ("plain-unet", "video-unet"):
        for size, about in SIZES.items():
            steps, adapting, allowed = adaptation_seconds(name, *about)
            updates.add(name, size, steps, adapting, allowed, adapting / allowed)
    return [looks, updates]
