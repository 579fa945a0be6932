"""Whether time grows as it should: with the length of a video, with its pixels, and for two jobs side by side.

Whole runs of ``--method none`` in processor time (user and system, of all threads), which other programs on the machine
change least; two jobs also in elapsed time. The footage is a texture that a hand shakes.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.clips import encode
from benchmarks.end_to_end import SMALL
from benchmarks.frames import shaken
from benchmarks.results import Table
from deblurcli import deblur_video
from deblurcli.media.writer import VideoWriter

LENGTH_SIZE = (128, 72)
BLOCK = 250
"""Frames whose times are put together; two segments of a video."""
SIZES = {(640, 360): 24, (1280, 720): 8, (2560, 1440): 4}
"""Width and height -> frames."""
JOB_SIZE = (640, 360)
MADE = 60
"""Frames of the footage that are made; a longer one shows them forth and back."""


def clip(path: Path, size: tuple[int, int], frames: int) -> Path:
    there = list(shaken(np.random.default_rng(7), size, min(frames, MADE)))
    encode(path, itertools.islice(itertools.cycle([*there, *there[-2:0:-1]]), frames), crf="18")
    return path


def restored(source: Path) -> None:
    deblur_video(source, source.with_name("out.mp4"), method="none", overwrite=True)


def spent(source: Path) -> float:
    """Processor time of a run in this process."""
    started = time.process_time()
    restored(source)
    return time.process_time() - started


def written_at(source: Path) -> list[float]:
    """The processor time at which each frame is written."""
    at: list[float] = []
    write = VideoWriter.write

    def noted(self: VideoWriter, item: Any) -> None:
        write(self, item)
        at.append(time.process_time())

    with mock.patch.object(VideoWriter, "write", noted):
        restored(source)
    return at


def over_the_length(folder: Path, frames: int) -> Table:
    width, height = LENGTH_SIZE
    columns = {f"frames of {width}x{height}": "", "processor time (ms a frame)": ".2f", "against the median": "+.1%"}
    table = Table("over the length", columns)
    at = written_at(clip(folder / "long.mp4", LENGTH_SIZE, frames))
    # The first block has starting in it, the last one the end of the video: frames that had waited for others.
    edges = range(BLOCK - 1, len(at), BLOCK)
    blocks = [1000 * (at[end] - at[begin]) / BLOCK for begin, end in itertools.pairwise(edges)]
    usual = median(blocks)
    for begin, block in zip(edges, blocks, strict=False):
        table.add(f"{begin + 2} to {begin + 1 + BLOCK}", block, block / usual - 1)
    return table


def by_size(folder: Path, rounds: int) -> Table:
    columns = {"size": "", "frames": "d", "processor time (s a frame)": ".3f", "microseconds a pixel": ".3f"}
    table = Table("by size", columns | {"against 1280x720": "+.1%"})
    clips = {size: clip(folder / f"{size[1]}.mp4", size, frames) for size, frames in SIZES.items()}
    small = clip(folder / "small.mp4", SMALL, 1)
    spent(small)
    least = dict.fromkeys(SIZES, float("inf"))
    for _ in range(rounds):
        begun = spent(small)
        for size, source in clips.items():
            least[size] = min(least[size], (spent(source) - begun) / SIZES[size])
    usual = least[1280, 720] / (1280 * 720)
    for (width, height), seconds in least.items():
        pixel = seconds / (width * height)
        table.add(f"{width}x{height}", SIZES[width, height], seconds, 1e6 * pixel, pixel / usual - 1)
    return table


def started(sources: Sequence[Path]) -> list[subprocess.Popen[bytes]]:
    """The program on each, in processes of their own that run at once, with the threads that it takes by default."""
    free = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "PYTHONDONT"))}
    command = [sys.executable, "-m", "deblurcli", "video", "--method", "none", "--overwrite", "-q"]
    return [
        subprocess.Popen([*command, source, "-o", source.with_suffix(".mkv")], stdout=subprocess.DEVNULL, env=free)
        for source in sources
    ]


def taken(sources: Sequence[Path]) -> tuple[float, float]:
    """Elapsed and processor time of jobs that run at once."""
    begun, processor = time.perf_counter(), 0.0
    for job in started(sources):
        _, status, used = os.wait4(job.pid, 0)
        job.returncode = os.waitstatus_to_exitcode(status)
        if job.returncode:
            raise SystemExit(f"deblur video ended with {job.returncode}")
        processor += used.ru_utime + used.ru_stime
    return time.perf_counter() - begun, processor


def two_jobs(folder: Path, frames: int, rounds: int) -> Table:
    name = f"two videos of {JOB_SIZE[0]}x{JOB_SIZE[1]}, {frames} frames"
    table = Table("two jobs", {name: "", "elapsed (s)": ".2f", "processor time (s)": ".2f"})
    videos = [clip(folder / f"job{number}.mp4", JOB_SIZE, frames) for number in (1, 2)]
    turns, together = [], []
    for _ in range(rounds):
        one, other = taken(videos[:1]), taken(videos[1:])
        turns.append((one[0] + other[0], one[1] + other[1]))
        together.append(taken(videos))
    for what, found in (("one after the other", turns), ("side by side", together)):
        table.add(f"{what}, least of {rounds} rounds", *(min(each) for each in zip(*found, strict=True)))
    table.add("ratio, median", *(median(b[k] / a[k] for a, b in zip(turns, together, strict=True)) for k in (0, 1)))
    return table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=("length", "size", "jobs"), help="one of the tables")
    parser.add_argument("--frames", type=int, default=2000, help="of the long video")
    parser.add_argument("--job-frames", type=int, default=24, help="of each of two jobs")
    parser.add_argument("--rounds", type=int, default=2)


def run(options: argparse.Namespace) -> list[Table]:
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        makers = {
            "length": lambda: over_the_length(folder, options.frames),
            "size": lambda: by_size(folder, options.rounds),
            "jobs": lambda: two_jobs(folder, options.job_frames, options.rounds),
        }
        return [make() for name, make in makers.items() if options.only in (None, name)]
