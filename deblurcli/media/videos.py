"""Videos in files and in image sequences: the one place that chooses what reads and what writes them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

from deblurcli.errors import OutputError
from deblurcli.files import check_destination
from deblurcli.media.excerpt import Excerpt
from deblurcli.media.frames import FrameReader, FrameWriter
from deblurcli.media.inputs import IMAGE_SUFFIXES, is_numbered, is_sequence
from deblurcli.media.probe import MediaInfo, probe
from deblurcli.media.reader import VideoReader
from deblurcli.media.sequence_reader import SequenceReader, describe_sequence
from deblurcli.media.sequence_writer import SequenceWriter, check_pictures
from deblurcli.media.writer import VideoWriter
from deblurcli.options.rates import USUAL_FPS


def open_video(
    path: Path, *, copied: bool = False, strict: bool = False, excerpt: Excerpt | None = None, fps: Fraction = USUAL_FPS
) -> FrameReader:
    """A reader of a video's frames. Raises as :class:`VideoReader` or :class:`SequenceReader`.

    Args:
        path: a video file, a folder of numbered pictures, or a pattern of their names.
        fps: pictures per second of a sequence; a file has its own.
    """
    if is_sequence(path):
        return SequenceReader(path, fps, strict=strict, excerpt=excerpt)
    return VideoReader(path, copied=copied, strict=strict, excerpt=excerpt)


def describe(path: Path, fps: Fraction = USUAL_FPS) -> MediaInfo:
    """What a video holds, from its head. Raises InputError. Arguments as of :func:`open_video`."""
    return describe_sequence(path, fps) if is_sequence(path) else probe(path)


def write_video(source: FrameReader, destination: Path, **settings: Any) -> FrameWriter:
    """A writer of an output: a video's file or, where the name has a number, pictures. Raises as its class."""
    if is_numbered(destination):
        return SequenceWriter(source, destination, **settings)
    if destination.suffix.lower() in IMAGE_SUFFIXES:
        pattern = destination.with_suffix("") / f"%06d{destination.suffix}"
        raise OutputError(f"{destination} is one picture for a video", f"number them: -o {pattern}")
    return VideoWriter(source, destination, **settings)


def check_output(destination: Path, inputs: Iterable[Path] = (), overwrite: bool = False) -> None:
    """Refuse what must never be written to, before anything is opened. Raises UsageError and OutputError."""
    if is_numbered(destination):
        check_pictures(destination, inputs, overwrite)
    else:
        check_destination(destination, inputs, overwrite)
