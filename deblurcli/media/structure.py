"""Whether what holds the streams of a file fits together, by the rules of each container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
from av.stream import Disposition

from deblurcli.media import ebml, riff, sample_tables, transport

LATE = "a stream that is not listed at the beginning is left out"


def structure_faults(
    path: Path, container: av.container.InputContainer, restarted: bool, held: dict[int, int]
) -> Iterator[str]:
    """What is missing or does not fit, a line each; FFmpeg need not have noticed.

    Args:
        container: the file, open.
        restarted: its clock restarts somewhere.
        held: how many packets to show each stream holds, by its index.
    """
    name = container.format.name
    if name == "mpegts":
        numbers = {stream.id: stream.index for stream in container.streams}
        framed = [stream.id for stream in container.streams if stream.type in ("video", "audio")]
        found = transport.look(path, numbers, framed, restarted)
        if found.unlisted:
            yield LATE
        for number, count in found.breaks.items():
            places = f"{count} places" if count > 1 else "one place"
            yield f"the packets of stream {numbers[number]} do not follow on one another in {places}: some are missing"
    elif "matroska" in name:
        tracks = [
            s for s in container.streams if s.type != "attachment" and not s.disposition & Disposition.attached_pic
        ]
        if fault := ebml.fault(path, len(tracks)):
            yield f"the container is damaged: {fault}"
    elif name == "avi":
        with path.open("rb") as file:
            promised = riff.promised_streams(file)
        if promised > (count := len(container.streams)):
            yield f"the header promises {promised} streams, {count} can be read: the others are missing"
    elif "mov" in name:
        with path.open("rb") as file:
            yield from sample_tables.faults(file, {s.id: held.get(s.index, 0) for s in container.streams})
