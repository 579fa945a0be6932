"""How much room a video takes while it is written, told before the work begins: a few of its frames are encoded."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import av

from deblurcli.media.encoders import Encoding
from deblurcli.media.frames import FrameReader
from deblurcli.media.segments import SEGMENT_FRAMES, SegmentEncoder

PLACES = 3
"""Parts of a video at whose beginnings frames are encoded."""
FRAMES_PER_PLACE = 4
UNITS = ("bytes", "kB", "MB", "GB", "TB")


def expected_bytes(source: FrameReader, encoding: Encoding) -> int:
    """About how many bytes the video will have; where no frame of it can be had so, as many as the input has."""
    keyframes: list[int] = []
    others: list[int] = []
    for frames in source.samples(PLACES, FRAMES_PER_PLACE):
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            encoder = SegmentEncoder(encoding, source.info.video)
            packets = [packet for frame in frames for packet in encoder.encode(frame)]
            sizes = [packet.size for packet in (*packets, *encoder.rest())]
            keyframes.append(sizes[0])
            others += sizes[1:]
    if not keyframes:
        return source.size
    count, key = source.inventory.packets, sum(keyframes) / len(keyframes)
    segments = -(-count // SEGMENT_FRAMES)
    return round(segments * key + (count - segments) * (sum(others) / len(others) if others else key))


def free_bytes(folder: Path) -> int | None:
    """What is free where a folder is or will be; None where the file system does not say."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    usage = shutil.disk_usage(there)
    return usage.free if usage.total else None


def readable_size(count: float) -> str:
    """A number of bytes for people."""
    unit = 0
    while count >= 999.5 and unit < len(UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.3g} {UNITS[unit]}"
