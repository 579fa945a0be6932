"""Whether what holds the streams of a file fits together, by the rules of each container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av

from deblurcli.media import ebml, riff, sample_tables, transport


def structure_faults(path: Path, container: av.container.InputContainer, restarted: bool) -> Iterator[str]:
    """What is missing or does not fit, a line each; FFmpeg need not have noticed.

    Args:
        container: the file, open.
        restarted: its clock restarts somewhere.
    """
    name = container.format.name
    if name == "mpegts":
        numbers = {stream.id: stream.index for stream in container.streams}
        for number, count in transport.breaks(path, numbers, restarted).items():
            places = f"{count} places" if count > 1 else "one place"
            yield f"the packets of stream {numbers[number]} do not follow on one another in {places}: some are missing"
    elif "matroska" in name:
        if fault := ebml.fault(path):
            yield f"the container is damaged: {fault}"
    elif name == "avi":
        with path.open("rb") as file:
            promised = riff.promised_streams(file)
        if promised > (found := len(container.streams)):
            yield f"the header promises {promised} streams, {found} can be read: the others are missing"
    elif "mov" in name:
        with path.open("rb") as file:
            yield from sample_tables.faults(file)
