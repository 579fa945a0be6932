"""The whole program beside the network alone, on the same frames in one run, and where its time goes.

``deblur video --method none`` runs in a process of its own, as users start it. Beside it the network alone restores the
same frames, which lie in memory, and each other part of the program does its work alone. All of that goes in turn, as
often as ``--rounds`` says, and the least time counts. Processor time (user and system, of all threads) is compared:
on a machine that others use, elapsed time says more about them.

The footage is a video that is given, forth and back where it is shorter, or one made here: a texture that a hand
shakes. Either has sharp moments, so that there is detail to take from them.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.clips import encode
from benchmarks.frames import shaken
from benchmarks.results import Table
from benchmarks.segments import pictures
from deblurcli.media.frames import Frame
from deblurcli.media.reader import VideoReader
from deblurcli.media.shots import CutDetector, windows
from deblurcli.media.writer import VideoWriter
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.video import VideoOptions
from deblurcli.restore.lucky import LuckyFrames, reach_within
from deblurcli.restore.pipeline import picture_of, restore_frame
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Worker

MOST, START = 1.10, 3.0
"""What the program may take: times the network alone, and seconds besides."""
NETWORK, CHANGES, DETAIL = "network alone", "changes of the network", "detail from sharper frames"
READING, WRITING, ENDING = "decoding, cuts", "encoding", "starting, ending"
SMALL = (64, 64)
"""Width and height of the clip of one frame that takes little but starting and ending."""


@dataclass
class Spent:
    """The least processor time and the least elapsed time of some runs, in seconds."""

    processor: float = float("inf")
    elapsed: float = float("inf")

    def note(self, processor: float, elapsed: float) -> None:
        self.processor, self.elapsed = min(self.processor, processor), min(self.elapsed, elapsed)


@dataclass
class _Known:
    """In place of a network: results that are there already."""

    results: Iterator[Tensor]
    window: int = 1

    def __call__(self, frames: list[Tensor], *, precise: bool = False) -> Tensor:
        return next(self.results)


@dataclass
class Clip:
    """A video, and what the parts of the program make of it on the way, in memory."""

    source: Path
    frames: list[Frame] = field(default_factory=list)
    pictures: list[Tensor] = field(default_factory=list)
    restored: list[Tensor] = field(default_factory=list)
    changes: list[Tensor] = field(default_factory=list)
    gains: int = 0
    """Frames that took detail from sharper ones."""

    def read(self) -> None:
        """As the program does: decode, look for cuts, make the pictures that are restored."""
        self.frames, self.pictures, is_cut = [], [], CutDetector()
        with VideoReader(self.source, copied=True) as reader:
            for frame in reader.frames():
                preview = frame.preview()
                is_cut(preview)
                self.frames.append(frame)
                self.pictures.append(picture_of(frame, preview))

    def restore(self, restorer: Restorer) -> None:
        """The network alone."""
        around = windows(self.pictures, restorer.window, lambda picture: False)
        self.restored = [restorer(pictures) for _, pictures in around]

    def find_changes(self) -> None:
        """What is to be done with each result, the frame's change told from it included."""
        results = iter(self.restored)
        self.changes = [restore_frame(_Known(results), [picture])[0] for picture in self.pictures]

    def take_detail(self, reach: int) -> None:
        stage: LuckyFrames[int] = LuckyFrames(reach)
        known = []
        for number, (picture, change) in enumerate(zip(self.pictures, self.changes, strict=True)):
            known += stage.add(number, picture + change, False)
        self.gains = sum(gain is not None for _, gain in [*known, *stage.rest()])

    def write(self) -> None:
        with (
            VideoReader(self.source, copied=True) as reader,
            VideoWriter(reader, self.source.with_name("part.mp4"), overwrite=True) as writer,
        ):
            for frame, change in zip(self.frames, self.changes, strict=True):
                writer.write(frame.with_change(change))


def alone(work: Callable[[], object]) -> tuple[float, float]:
    """Processor time and elapsed time of some work in this process, in seconds."""
    started = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - started[0], time.perf_counter() - started[1]


def program(source: Path, *words: str) -> tuple[float, float]:
    """The same of a run of ``deblur video`` in a process of its own."""
    command = [sys.executable, "-m", "deblurcli", "video", str(source), "-o", str(source.with_name("out.mp4"))]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    words = ("--method", "none", "--overwrite", "-q", *words)
    child = subprocess.Popen([*command, *words], stdout=subprocess.DEVNULL, env=kept)
    _, status, spent = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"deblur video ended with {child.returncode}")
    return spent.ru_utime + spent.ru_stime, time.perf_counter() - started


def views(size: tuple[int, int], frames: int, video: Path | None) -> Iterator[np.ndarray]:
    """The footage: RGB pictures, H x W x 3 bytes."""
    if video is None:
        yield from shaken(np.random.default_rng(7), size, frames)
        return
    there = list(pictures(video, frames, size))
    yield from itertools.islice(itertools.cycle([*there, *there[-2:0:-1]]), frames)


def measured(clip: Clip, rounds: int) -> tuple[dict[str, Spent], dict[str, Spent]]:
    """The runs of the whole program and of the network alone, and those of each part."""
    network = Worker(ComputeOptions()).place("default", "video", "deblur")
    restorer = Restorer(network.module, network.spec, network.device)
    clip.read()
    restorer([clip.pictures[0]] * restorer.window)
    reach = reach_within(clip.frames[0].height, clip.frames[0].width, VideoOptions().lucky_frames)
    small = clip.source.with_name("small.mp4")
    encode(small, shaken(np.random.default_rng(7), SMALL, 1))
    whole = {
        NETWORK: lambda: alone(lambda: clip.restore(restorer)),
        "whole program": lambda: program(clip.source),
        "whole program, --lucky-frames 0": lambda: program(clip.source, "--lucky-frames", "0"),
    }
    parts = {
        CHANGES: lambda: alone(clip.find_changes),
        DETAIL: lambda: alone(lambda: clip.take_detail(reach)),
        READING: lambda: alone(clip.read),
        WRITING: lambda: alone(clip.write),
        ENDING: lambda: program(small),
    }
    found = {name: Spent() for name in (*whole, *parts)}
    for _ in range(rounds):
        for name, run in (whole | parts).items():
            found[name].note(*run())
    return {name: found[name] for name in whole}, {name: found[name] for name in (NETWORK, *parts)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--video", type=Path, help="footage, in place of what is made")
    parser.add_argument("--size", default="640x360", metavar="WxH")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=2)


def run(options: argparse.Namespace) -> list[Table]:
    width, height = map(int, options.size.split("x"))
    made, count = f"{options.size}, {options.frames} frames", options.frames
    columns = {made: "", "processor time (s)": ".1f", "ms a frame": ".1f", "against the network": ".3f"}
    columns |= {"without 3 s": ".3f", "elapsed (s)": ".1f"}
    totals = Table(f"whole program, {options.size}", columns)
    shares = Table(f"parts, {options.size}", {made: "", "processor time (ms a frame)": ".1f", "share": ".1%"})
    with tempfile.TemporaryDirectory() as work:
        clip = Clip(Path(work) / "in.mp4")
        encode(clip.source, views((width, height), count, options.video), crf="18")
        whole, parts = measured(clip, options.rounds)
    alone_, *_ = whole.values()
    for name, spent in whole.items():
        more = (spent.processor - START) / alone_.processor if spent is not alone_ else None
        per_frame = 1000 * spent.processor / count
        totals.add(name, spent.processor, per_frame, spent.processor / alone_.processor, more, spent.elapsed)
    total = sum(spent.processor for spent in parts.values())
    for name, spent in parts.items():
        shares.add(name, 1000 * spent.processor / count, spent.processor / total)
    print(f"{clip.gains} of {count} frames took detail from sharper ones; {torch.get_num_threads()} threads")
    return [totals, shares]
