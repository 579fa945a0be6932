"""How much room a video takes while it is written, told before the work begins: a few of its frames are encoded."""

from __future__ import annotations

import contextlib
import gc
import shutil
from pathlib import Path

import av

from deblurcli.media.encoders import Encoding
from deblurcli.media.frames import Frame, FrameReader
from deblurcli.media.segments import SEGMENT_FRAMES, SegmentEncoder
from deblurcli.options.compute import LARGE

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
            sizes = _sizes(frames, SegmentEncoder(encoding, source.info.video))
            keyframes.append(sizes[0])
            others += sizes[1:]
        if source.info.video.width * source.info.video.height > LARGE:
            gc.collect()  # encoders, as in ``trial``
            from deblurcli.device import give_back_memory

            give_back_memory()
    if not keyframes:
        return source.size
    count, key = source.inventory.packets, sum(keyframes) / len(keyframes)
    segments = -(-count // SEGMENT_FRAMES)
    return round(segments * key + (count - segments) * (sum(others) / len(others) if others else key))


def _sizes(frames: list[Frame], encoder: SegmentEncoder) -> list[int]:
    """Bytes of the packets of some frames, which are let go one by one."""
    sizes = []
    while frames:
        sizes += [packet.size for packet in encoder.encode(frames.pop(0))]
    return sizes + [packet.size for packet in encoder.rest()]


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
