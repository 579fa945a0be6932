"""An image sequence read as a video: its pictures at their own depth, each with its metadata, at an even rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from deblurcli.errors import InputError
from deblurcli.media.damage import Damage
from deblurcli.media.excerpt import Excerpt
from deblurcli.media.frames import Frame, FrameReader
from deblurcli.media.images import Image, read_image
from deblurcli.media.inventory import Inventory
from deblurcli.media.layout import Colour, PlaneLayout, layout_of
from deblurcli.media.pictures.pixels import head
from deblurcli.media.probe import MediaInfo, VideoInfo
from deblurcli.media.sequences import FrameFiles, frame_files

CONTAINER = "image sequence"
COLOUR = Colour("rgb", full_range=True, guessed=False, siting="centre", range_tag=2)
"""RGB over the whole range. What its numbers mean is told by the pictures' profiles, if they have any."""
PIX_FMTS = {
    (3, 8, False): "gbrp", (3, 8, True): "gbrap", (3, 16, False): "gbrp16le", (3, 16, True): "gbrap16le",
    (1, 8, False): "gray", (1, 8, True): "ya8", (1, 16, False): "gray16le", (1, 16, True): "ya16le",
}  # fmt: skip
"""FFmpeg's name of the layout, by number of colours, bits and alpha."""


class SequenceReader(FrameReader):
    """Reads the pictures of a sequence, in constant memory, as :class:`deblurcli.media.reader.VideoReader` a video.

    A picture that cannot be decoded is replaced by the one before it, as a frame that is lost is.

    Args:
        path: a folder of numbered pictures, or the pattern of their names.
        rate: pictures per second.
        strict, excerpt: as for a video.

    Raises:
        InputError: as :func:`deblurcli.media.sequences.frame_files` says; the pictures differ in size, colours or
            depth; none can be read; with ``strict``, one is damaged.
        UsageError: the sequence ends before the excerpt begins.
    """

    timed = False

    def __init__(self, path: Path, rate: Fraction, *, strict: bool = False, excerpt: Excerpt | None = None) -> None:
        self.files = frame_files(path)
        whole = describe_sequence(path, rate)
        self.layout = _layout(whole.video.pix_fmt)
        self.copied, self.excerpt = False, excerpt
        self.within = (Fraction(0), None)
        self._range = range(self.files.count)
        self.info = whole
        if excerpt is not None:
            self.info, self.within = excerpt.of(whole), excerpt.within(whole)
            begin, end = (None if at is None else math.ceil(at * rate) for at in self.within)
            self._range = range(self.files.count)[begin:end]
            if not self._range:
                raise excerpt.behind_the_end(whole, whole.duration)
            self.info = replace(self.info, video=replace(self.info.video, start=self._range.start))
        self.inventory = Inventory(len(self._range), self._range.start, False, (), "", (), False)
        self.damage = Damage(self.files.name, strict)
        metadata = _first(self.files).metadata
        held = {"colour profile": metadata.icc, "EXIF": metadata.exif, "XMP": metadata.xmp, "IPTC": metadata.iptc}
        kinds = [kind for kind, content in held.items() if content]
        self.foreseen = (f"{' and '.join(kinds)} of the pictures: a video has no place for it",) if kinds else ()

    @property
    def size(self) -> int:
        """Bytes of all pictures."""
        return sum(self.files.path(index).stat().st_size for index in self._range)

    def items(self) -> Iterator[Frame]:
        last: Frame | None = None
        early: list[int] = []
        for index in self._range:
            image = self._image(index)
            if image is None:
                if last is None:
                    early.append(index)
                    continue
                last = replace(last, pts=index)
                yield last
                continue
            last = self._frame(image, index)
            for before in early:
                yield replace(last, pts=before)
            early = []
            yield last
        if last is None:
            raise InputError(f"{self.files.name}: no picture can be decoded", "copy them again")

    def samples(self, places: int, count: int) -> Iterator[list[Frame]]:
        for place in range(places):
            begin = self._range.start + len(self._range) * place // places
            indices = range(begin, min(begin + count, self._range.stop))
            images = [(index, self._read(index)) for index in indices]
            yield [self._frame(image, index) for index, image in images if isinstance(image, Image)]

    def chapters(self) -> list[dict[str, Any]]:
        return []

    def _image(self, index: int) -> Image | None:
        """A picture; None where it is lost. What is wrong with it is noted. Raises InputError."""
        image = self._read(index)
        seconds = float((index - self._range.start) * self.info.video.time_base)
        if isinstance(image, InputError):
            if not self.files.path(index).is_file():
                found = f"{self.files.path(index)} was removed while the sequence was read"
                raise InputError(found, "put it back, and run the same command again")
            self.damage.note_lost(seconds)
            return None
        if image.damage:
            self.damage.note_damaged(seconds, image.damage[0])
        return image

    def _read(self, index: int) -> Image | InputError:
        try:
            return read_image(self.files.path(index))
        except InputError as error:
            return error

    def _frame(self, image: Image, index: int) -> Frame:
        video = self.info.video
        height, width = image.samples.shape[:2]
        if (width, height, pix_fmt_of(image)) != (video.width, video.height, video.pix_fmt):
            raise _differs(self.files, index, f"{width}x{height} {pix_fmt_of(image)}", _shape(video))
        return Frame(planes_of(image), self.layout, index, video.time_base, 1, image=image)


def describe_sequence(path: Path, rate: Fraction) -> MediaInfo:
    """What a sequence holds, as :func:`deblurcli.media.probe.probe` tells it of a video. Raises InputError."""
    files = frame_files(path)
    _require_alike(files, files.folder.stat().st_mtime_ns)
    first = _first(files)
    height, width = first.samples.shape[:2]
    layout = _layout(pix_fmt_of(first))
    duration = files.count / rate
    video = VideoInfo(
        index=0,
        codec=codec_of(files.pattern),
        profile=None,
        width=width,
        height=height,
        pix_fmt=layout.pix_fmt,
        depth=layout.depth,
        sample_aspect_ratio=None,
        rotation=0,
        display_matrix=None,
        rate=rate,
        time_base=1 / rate,
        start=0,
        duration=duration,
        frames=files.count,
        field_order="progressive",
        side_data={},
        colour=layout.colour,
        alpha=layout.alpha,
        subsampling=layout.shift,
    )
    return MediaInfo(path, CONTAINER, duration, video, (), (), {})


def planes_of(image: Image) -> tuple[np.ndarray, ...]:
    """The samples of a picture as those of a frame: G, B, R or grey, alpha last."""
    colours = [image.samples] if image.samples.ndim == 2 else [image.samples[:, :, at] for at in (1, 2, 0)]
    planes = colours if image.alpha is None else [*colours, image.alpha]
    return tuple(map(np.ascontiguousarray, planes))


def image_of(frame: Frame) -> Image:
    """A frame of such a layout as a picture, with the metadata of the picture that it was read from."""
    planes, grey = frame.planes, frame.layout.kind == "grey"
    samples = planes[0] if grey else np.stack([planes[2], planes[0], planes[1]], 2)
    alpha = planes[-1] if frame.layout.alpha else None
    if frame.image is None:
        return Image(samples, alpha)
    return replace(frame.image, samples=samples, alpha=alpha, damage=())


def pix_fmt_of(image: Image) -> str:
    """The layout of a picture's samples in a frame."""
    return PIX_FMTS[1 if image.samples.ndim == 2 else 3, image.depth, image.alpha is not None]


def _layout(pix_fmt: str) -> PlaneLayout:
    return layout_of(pix_fmt, COLOUR)


def codec_of(name: str) -> str:
    """The format of a picture by the suffix of its name, as FFmpeg calls it."""
    suffix = Path(name).suffix.lower().removeprefix(".")
    return {"jpg": "mjpeg", "jpeg": "mjpeg", "tif": "tiff"}.get(suffix, suffix)


def _first(files: FrameFiles) -> Image:
    """The first picture that can be read. Raises InputError: none can, or what the first one that is no picture is."""
    refused: InputError | None = None
    for index in range(files.count):
        try:
            return read_image(files.path(index))
        except InputError as error:
            refused = refused or error
    assert refused is not None
    raise refused


@lru_cache(maxsize=32)
def _require_alike(files: FrameFiles, changed: int) -> None:
    """Refuse at once, by their heads, pictures that differ in what all frames of a video have in common.

    ``changed``: when the folder was; a second look at the same one costs nothing.
    """
    known: tuple[int, int, int, str] | None = None
    for index in range(files.count):
        found = head(files.path(index))
        known = known or found
        if found is not None and found != known:
            assert known is not None
            raise _differs(files, index, _told(found), _told(known))


def _told(found: tuple[int, int, int, str]) -> str:
    width, height, bands, kind = found
    channels = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGB with alpha"}.get(bands, f"{bands} channels")
    return f"{width}x{height} {channels} of {'16' if kind == 'ushort' else '8'} bits"


def _shape(video: VideoInfo) -> str:
    return f"{video.width}x{video.height} {video.pix_fmt}"


def _differs(files: FrameFiles, index: int, found: str, before: str) -> InputError:
    told = f"{files.path(index)} is {found}, the pictures before it are {before}"
    return InputError(told, "make them alike, or use deblur image")
