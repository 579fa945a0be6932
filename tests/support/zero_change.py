"""A video sent through the reader and the writer with a zero change, and the samples that it holds then."""

from __future__ import annotations

from pathlib import Path

import torch

from deblurcli.media.frames import Frame
from deblurcli.media.reader import VideoReader
from deblurcli.media.writer import VideoWriter


def copy(source: Path, destination: Path, **options: object) -> VideoWriter:
    """Send a clip through with a zero change."""
    with VideoReader(source, copied=True) as reader, VideoWriter(reader, destination, **options) as writer:  # type: ignore[arg-type]
        for item in reader.items():
            if isinstance(item, Frame):
                item = item.with_change(torch.zeros(3, item.height, item.width))
            writer.write(item)
    return writer


def samples(path: Path) -> list[list[bytes]]:
    with VideoReader(path) as reader:
        return [[plane.tobytes() for plane in frame.planes] for frame in reader.frames()]
