"""What writing a video in segments costs beside writing it in one piece: size, and processor time.

Clips of 640x360 go through reader and writer; no network runs.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import av
import numpy as np

from benchmarks.clips import encode
from benchmarks.results import Table
from deblurcli.media.reader import VideoReader
from deblurcli.media.writer import VideoWriter

SIZE = (640, 360)
IN_ONE = 1 << 30
"""Frames in a segment, so that there is one."""


def pictures(path: Path, frames: int, size: tuple[int, int] = SIZE) -> Iterator[np.ndarray]:
    """The first frames of a video, H x W x 3 bytes, width x height of ``size``."""
    with av.open(str(path)) as container:
        for frame in itertools.islice(container.decode(video=0), frames):
            yield frame.reformat(*size, "rgb24").to_ndarray()


def written(source: Path, codec: str) -> tuple[int, float, int]:
    """Bytes of the result, seconds of the processor, and segments."""
    started, destination = time.process_time(), source.with_name("out.mkv")
    with (
        VideoReader(source, copied=True) as reader,
        VideoWriter(reader, destination, codec=codec, overwrite=True) as writer,
    ):
        for item in reader.items():
            writer.write(item)
    return destination.stat().st_size, time.process_time() - started, len(writer.segments)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO")
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--codecs", nargs="+", default=["libx264"])
    parser.add_argument("--rounds", type=int, default=1, help="in turn, of which the faster counts")


def run(options: argparse.Namespace) -> list[Table]:
    columns = {"clip": "", "encoder": "", "segments": "d", "size in one piece (kB)": ".0f", "in segments": "+.2%"}
    columns |= {"time in one piece (ms a frame)": ".1f", "in segments (ms a frame)": ".1f"}
    table = Table("in one piece and in segments", columns)
    with tempfile.TemporaryDirectory() as work:
        for video in options.videos:
            source = Path(work) / "in.mp4"
            views = list(pictures(video, options.frames))
            encode(source, views, crf="14")
            for codec in options.codecs:
                whole, parted = [], []
                for _ in range(options.rounds):
                    with mock.patch("deblurcli.media.writer.SEGMENT_FRAMES", IN_ONE):
                        whole.append(written(source, codec))
                    parted.append(written(source, codec))
                times = [1000 * min(seconds for _, seconds, _ in runs) / len(views) for runs in (whole, parted)]
                size = whole[0][0]
                table.add(video.stem, codec, parted[0][2], size / 1000, parted[0][0] / size - 1, *times)
    return [table]
