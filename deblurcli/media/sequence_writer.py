"""An image sequence as the output of a video: a folder of numbered pictures that appears when all of them are complete.

Until then they are in the folder of the run (:class:`deblurcli.files.PartFolder`), each complete or not there, so that
an interrupted run goes on behind the last of them.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from torch import Tensor

from deblurcli.errors import DeblurError, InputError, OutputError, UsageError
from deblurcli.files import OutputFile, PartFolder, reason
from deblurcli.folders import check_folder, publish_folder
from deblurcli.media.disk_use import free_bytes, readable_size
from deblurcli.media.frames import Frame, FrameReader, FrameWriter
from deblurcli.media.images import Image, encoded, read_image, require_form
from deblurcli.media.inputs import is_sequence
from deblurcli.media.layout import layout_of
from deblurcli.media.pictures.pixels import upright
from deblurcli.media.sequence_reader import COLOUR, SequenceReader, codec_of, image_of, pix_fmt_of, planes_of
from deblurcli.media.sequences import FrameFiles, folder_of, place_of, require_number

FRAMES, TOLD = "frames", "told.json"
"""In the folder of a run: the pictures, and what is to be said of them."""
FIRST = 1
"""The number of the first picture of a video, as FFmpeg counts."""
SAMPLES = 3
"""Places of the input whose frames are encoded to foretell the room that all take."""


class SequenceWriter(FrameWriter):
    """Writes the frames that a reader yields as pictures; otherwise as :class:`deblurcli.media.writer.VideoWriter`.

    Pictures of a sequence keep their numbers; those of a video are numbered from 1. They have 8 bits, or 16 where the
    frames have more than 8, and are upright.

    Raises:
        UsageError: the folder holds something, or is the input's; an option is one of encoders.
        InputError: the name has no number.
        OutputError: the format cannot hold the pictures, or they cannot be written.
    """

    def __init__(
        self,
        source: FrameReader,
        destination: Path,
        *,
        codec: str | None = None,
        crf: float | None = None,
        preset: str | None = None,
        overwrite: bool = False,
        folder: Path | None = None,
        completed: Callable[[int], object] | None = None,
        muxed: Callable[[int], object] | None = None,
    ) -> None:
        for flag, value in (("--codec", codec), ("--crf", crf), ("--preset", preset)):
            if value is not None:
                raise UsageError(f"{flag} with pictures as output", "leave it out")
        require_number(destination)
        self.destination, self.overwrite, self.place = destination, overwrite, place_of(destination)
        self._source, self._completed = source, completed or (lambda frames: None)
        self._own = None
        first = FIRST if not isinstance(source, SequenceReader) else source.files.first + source.info.video.start
        self._files = FrameFiles(Path(), destination.name, first, 0)
        depth = None if isinstance(source, SequenceReader) else source.info.video.depth
        require_form([_form(source)], destination.name, depth=depth)
        self.codec, self.pix_fmt = codec_of(destination.name), pix_fmt_of(_form(source))
        self.notes, self.foreseen = _told_before(source), _lost(source)
        self.differences: list[str] = []
        self._count = self.damaged = self._expected = self._uneven = 0
        self._lines: dict[str, None] = {}
        self._replaced: set[int] = set()
        self._untouched: set[int] = set()
        if folder is None:
            check_pictures(destination, [source.info.path], overwrite)
            self._own = PartFolder(self.place)
            self._own.clear()
        self.folder = self._own.path if self._own is not None else Path(folder or "")
        self._pictures = self.folder / FRAMES
        self._find_pictures()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            if self._own is not None:
                self._own.close()

    @property
    def frames(self) -> int:
        return self._count

    @property
    def replaced(self) -> int:
        return len(self._replaced)

    @property
    def untouched(self) -> int:
        return len(self._untouched)

    def require_room(self) -> str:
        sizes = []
        for frames in self._source.samples(SAMPLES, 1):
            for frame in self.taken(frames):
                sizes.append(len(self._encoded(frame)[0]))
        mean = sum(sizes) / len(sizes) if sizes else self._source.size / max(1, self._source.inventory.packets)
        self._uneven = 0
        self._expected = round(mean * self._source.inventory.packets)
        needed, free = self.needed, free_bytes(self.folder)
        line = f"needs about {readable_size(needed)} in {self.place.parent}"
        if free is None:
            return line
        line += f", {readable_size(free)} are free"
        if needed > free:
            raise OutputError(f"{self.place} {line}", "make room, or give another place")
        return line

    @property
    def needed(self) -> int:
        """About how many more bytes are written on the way."""
        left = self._source.inventory.packets - self.frames
        return round(self._expected * max(0, left) / max(1, self._source.inventory.packets))

    def taken(self, items: Iterable[Frame | av.Packet]) -> Iterator[Frame | av.Packet]:
        """The frames as pictures hold them, RGB or grey of 8 or 16 bits: a change is added to these."""
        last, usual = None, None
        for item in items:
            if not isinstance(item, Frame):
                continue
            if last is not None:
                usual = item.pts - last if usual is None else usual
                self._uneven += abs(item.pts - last - usual) > 1
            last = item.pts
            yield item if item.layout.colour is COLOUR else _as_picture(item)

    def write(self, item: Frame | av.Packet) -> None:
        if not isinstance(item, Frame):
            return
        item = item if item.layout.colour is COLOUR else _as_picture(item)
        content, lines = self._encoded(item)
        known = self._told()
        self._lines |= dict.fromkeys(lines)
        self._replaced |= {self.frames} if item.replaced else set()
        self._untouched |= {self.frames} if item.untouched else set()
        try:
            self._pictures.mkdir(parents=True, exist_ok=True)
            if known != (told := self._told()):
                with OutputFile(self.folder / TOLD, overwrite=True) as output:
                    output.file.write(json.dumps(told).encode())
            with OutputFile(self._path(self.frames), overwrite=True) as output:
                output.file.write(content)
        except (OSError, OutputError) as error:
            raise self.failed(error) from error
        self._count += 1
        self._completed(self.frames)

    def failed(self, error: Exception) -> DeblurError:
        if isinstance(error, DeblurError):
            if not isinstance(error.__cause__, OSError):
                return error
            error = error.__cause__
        found = f"{self.place} cannot be written: {reason(error)}"
        if getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT):
            room = f"about {readable_size(self.needed)} more in {self.place.parent}"
            return OutputError(found, f"make room for {room}, and run the same command again")
        return OutputError(found, "free space or choose another folder")

    def _encoded(self, frame: Frame) -> tuple[bytes, list[str]]:
        image, video = image_of(frame), self._source.info.video
        if frame.image is None and (turns := video.rotation // 90):
            alpha = None if image.alpha is None else upright(image.alpha, turns, False)
            image = replace(image, samples=upright(image.samples, turns, False), alpha=alpha)
        return encoded(image, self._path(self.frames).name)

    def _path(self, index: int) -> Path:
        return self._pictures / self._files.path(index)

    def _find_pictures(self) -> None:
        """Take those that are there, one behind the other; what is behind a damaged one is of no use."""
        if not self._pictures.is_dir():
            return
        while (path := self._path(self.frames)).exists():
            try:
                complete = not read_image(path).damage
            except InputError:
                complete = False
            if not complete:
                break
            self._count += 1
        kept = {self._path(index).name for index in range(self.frames)}
        for left in [path for path in self._pictures.iterdir() if path.name not in kept]:
            self.damaged += not left.name.startswith(".")
            left.unlink()
        try:
            told = json.loads((self.folder / TOLD).read_bytes())
            self._lines = dict.fromkeys(map(str, told["lines"]))
            self._replaced, self._untouched = (
                {int(index) for index in told[name] if int(index) < self.frames} for name in ("replaced", "untouched")
            )
        except (OSError, ValueError, KeyError, TypeError):
            pass

    def _told(self) -> dict[str, list[Any]]:
        """What is known of the pictures so far, for a run that goes on."""
        told: dict[str, list[Any]] = {"lines": list(self._lines), "replaced": sorted(self._replaced)}
        return told | {"untouched": sorted(self._untouched)}

    def _finish(self) -> None:
        if not self.frames:
            raise OutputError(f"{self.destination} would hold no pictures", "check the input")
        if self._uneven:
            self.differences.append(
                f"{self._uneven} frames do not follow at even intervals, which pictures cannot tell"
            )
        self.differences += [*self.foreseen, *self._lines]
        publish_folder(self._pictures, self.place, overwrite=self.overwrite)


def check_pictures(destination: Path, inputs: Iterable[Path] = (), overwrite: bool = False) -> None:
    """Refuse, before any work, a folder that pictures cannot go to. Raises UsageError, InputError and OutputError.

    ``inputs``: videos; the folders of those that are sequences are never written to.
    """
    require_number(destination)
    folders = [folder_of(path) for path in inputs if is_sequence(path)]
    check_folder(place_of(destination), lambda name: Path(name).suffix == destination.suffix, folders, overwrite)


def _as_picture(frame: Frame) -> Frame:
    """A frame of a video in a layout that pictures have."""
    top, kind = (255, np.uint8) if frame.layout.depth <= 8 else (65535, np.uint16)
    rgb = frame.rgb()
    samples = _whole(rgb[0] if frame.layout.kind == "grey" else rgb.permute(1, 2, 0), top).astype(kind)
    alpha = frame.alpha()
    image = Image(np.ascontiguousarray(samples), None if alpha is None else _whole(alpha, top).astype(kind))
    return replace(frame, planes=planes_of(image), layout=layout_of(pix_fmt_of(image), COLOUR), picture=None)


def _whole(levels: Tensor, top: int) -> np.ndarray:
    found: np.ndarray = (levels * top).round().numpy()
    return found


def _form(source: FrameReader) -> Image:
    """A picture of the kind that the frames become."""
    kind = np.uint8 if source.layout.depth <= 8 else np.uint16
    shape = (1, 1) if source.layout.kind == "grey" else (1, 1, 3)
    return Image(np.zeros(shape, kind), np.zeros((1, 1), kind) if source.layout.alpha else None)


def _told_before(source: FrameReader) -> list[str]:
    """What must be known to make a video of the pictures again."""
    rate = source.info.video.rate
    if isinstance(source, SequenceReader) or rate is None:
        return []
    return [f"the pictures have no rate: give --fps {rate} with them"]


def _lost(source: FrameReader) -> list[str]:
    """What of a video no pictures can hold, a line each."""
    info = source.info
    lines = [f"{other.kind} stream {other.index} ({other.codec}) dropped: pictures hold none" for other in info.others]
    lines += ["the chapters dropped: pictures hold none"] if info.chapters else []
    ratio = info.video.sample_aspect_ratio
    return lines + ([f"pixels of {ratio} became square ones, and were not resized"] if ratio and ratio != 1 else [])
