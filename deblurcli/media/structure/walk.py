"""Whether what holds the streams of a file fits together, by the rules of each container."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.stream import Disposition

from deblurcli.media.structure import ebml, riff, sample_tables, tags, transport

LATE = "a stream that is not listed at the beginning is left out"
ONE_A_PACKET = frozenset({"h264", "hevc"})
"""Codecs in which every frame that is announced comes in a packet of its own."""


@dataclass(frozen=True)
class Structure:
    """What was found."""

    faults: tuple[str, ...]
    """What is missing or does not fit, a line each."""
    joined: bool
    """Whether recordings are joined, and nothing else is wrong with the packets of a transport stream."""


def look_at_structure(
    path: Path,
    container: av.container.InputContainer,
    restarted: bool,
    packets: dict[int, int],
    held: dict[int, int],
    single: set[int],
) -> Structure:
    """Find what FFmpeg need not have noticed.

    Args:
        container: the file, open.
        restarted: its clock restarts somewhere.
        packets: how many each stream has, by its index.
        held: how many of them are to be shown.
        single: streams of an AVI file in which every packet is one of a chunk.
    """
    name = container.format.name
    if name == "mpegts":
        return _transport(path, container, restarted, packets)
    return Structure(tuple(_faults(path, container, packets, held, single)), False)


def _transport(
    path: Path, container: av.container.InputContainer, restarted: bool, packets: dict[int, int]
) -> Structure:
    streams = {stream.id: stream for stream in container.streams}
    framed = [number for number, stream in streams.items() if stream.type in ("video", "audio")]
    found = transport.look(path, streams, framed, restarted)
    faults = [LATE] if found.unlisted else []
    if found.void:
        faults.append("the container is damaged: where packets should be there are none, or empty ones")
    for number, count in found.breaks.items():
        places = f"{count} places" if count > 1 else "one place"
        index = streams[number].index
        faults.append(f"the packets of stream {index} do not follow on one another in {places}: some are missing")
    for number, stream in streams.items():
        count = packets.get(stream.index, 0)
        single = stream.codec_context is not None and stream.codec_context.codec.canonical_name in ONE_A_PACKET
        announced = found.timed.get(number, 0) - found.joints
        if single and announced > count and number not in found.breaks:
            faults.append(f"stream {stream.index} announces {announced} frames, {count} can be told apart")
    return Structure(tuple(faults), bool(found.joints and not found.breaks and not found.void))


def _faults(
    path: Path,
    container: av.container.InputContainer,
    packets: dict[int, int],
    held: dict[int, int],
    single: set[int],
) -> Iterator[str]:
    name = container.format.name
    if "matroska" in name:
        tracks = [
            s for s in container.streams if s.type != "attachment" and not s.disposition & Disposition.attached_pic
        ]
        if fault := ebml.fault(path, len(tracks)):
            yield f"the container is damaged: {fault}"
    elif name == "flv":
        if fault := tags.fault(path):
            yield f"the container is damaged: {fault}"
    elif name == "avi":
        chunks = riff.walk(path)
        if chunks.streams > (count := len(container.streams)):
            yield f"the header promises {chunks.streams} streams, {count} can be read: the others are missing"
        if chunks.fault:
            yield f"the container is damaged: {chunks.fault}"
        for index in sorted(single):
            if (there := chunks.packets.get(index, 0)) > (count := packets.get(index, 0)):
                yield f"{count} of the {there} packets of stream {index} can be read: the others are missing"
    elif "mov" in name:
        with path.open("rb") as file:
            yield from sample_tables.faults(file, {s.id: held.get(s.index, 0) for s in container.streams})
