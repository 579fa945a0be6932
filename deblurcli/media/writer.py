"""Streaming encoding in segments, muxed at the end: new pixels, everything else as it was.

The output name appears only when the file is complete.
"""

from __future__ import annotations

import errno
import gc
import io
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import av

from deblurcli.errors import DeblurError, OutputError, UsageError
from deblurcli.files import OutputFile, PartFolder, check_destination, reason
from deblurcli.media.choice import choose
from deblurcli.media.disk_use import expected_bytes, free_bytes, readable_size
from deblurcli.media.encoders import Encoding
from deblurcli.media.frames import Frame, FrameReader, FrameWriter
from deblurcli.media.muxer import Muxer, shift_of
from deblurcli.media.segments import SEGMENT_FRAMES, Segment, SegmentEncoder, SegmentWriter, read_segment

FAILURES = (av.FFmpegError, OSError, ValueError, OutputError)
"""What writing may end with."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a disk, or of somebody's share of it, that is full."""


class VideoWriter(FrameWriter):
    """Writes what a reader yields. Use as a context manager: a clean exit commits, an exception leaves nothing.

    Frames go into segments, and these with the packets of the other streams, read once more, into the file. Encoder and
    container have been tried, and every stream mapped, when the constructor returns.

    Args:
        folder: where the segments are. Those that lie there already are kept: their frames are not to be written again.
            It is then left to the caller, as are the segments in it and the check of the destination. Nothing is
            written before the first frame, so that it need not exist.
        completed: called when a segment is complete, with the number of frames in all of them.
        muxed: called for every frame that is joined with the other streams in the end, with the number of those so far.

    Attributes:
        foreseen: what will not be kept, as far as it is known before the first frame, a line each.
        notes: what is worth saying though nothing is lost, such as another codec than the input's.
        differences: what was not kept, a line each, found by reading the file back; complete after the exit.
        damaged: segments in the folder that were damaged, and are left out with all behind them.

    Raises:
        UsageError: the output exists, or is the input; an option is not one of the encoder's.
        OutputError: no encoder or container keeps the samples, or the file cannot be written.
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
        self.destination, self.overwrite = Path(destination), overwrite
        self._source = source
        self.differences: list[str] = []
        self.segments: list[Segment] = []
        self.damaged = self._expected = 0
        self._current: SegmentWriter | None = None
        self._completed = completed or (lambda frames: None)
        self._muxed = muxed or (lambda frames: None)
        self._own = None
        if folder is None:
            check_destination(self.destination, [source.info.path], overwrite)
            self._own = PartFolder(self.destination)
        self.folder = self._own.path if self._own is not None else Path(folder or "")
        try:
            self._encoding: Encoding = choose(source.info.video, source.layout, self.destination, codec, crf, preset)
            self.codec, self.pix_fmt = self._encoding.codec, self._encoding.pix_fmt
            self._shift = shift_of(source, self._encoding.muxer)
            tried = self._muxer(io.BytesIO())
            tried.close()
            self.copied, self.foreseen = tried.copied, tried.foreseen
            self.notes = [*self._encoding.notes, *tried.notes]
            if self._own is None:
                self._find_segments()
            else:
                self._own.clear()
        except BaseException:
            self._discard()
            raise

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            self._discard()

    @property
    def frames(self) -> int:
        return sum(len(segment.times) for segment in self.segments)

    @property
    def replaced(self) -> int:
        return sum(segment.replaced for segment in self.segments)

    @property
    def untouched(self) -> int:
        """How many of them were sharp already, and left as they are."""
        return sum(segment.untouched for segment in self.segments)

    def require_room(self) -> str:
        self._expected = expected_bytes(self._source, self._encoding)
        needed, free = self.needed, free_bytes(self.folder)
        line = f"needs about {readable_size(needed)} in {self.destination.parent}"
        if free is None:
            return line
        line += f", {readable_size(free)} are free"
        if needed > free:
            raise OutputError(f"{self.destination.name} {line}", "make room, or give another place")
        return line

    @property
    def needed(self) -> int:
        """About how many more bytes are written on the way: the rest of the segments, and the file made of all."""
        done, written = self.frames, sum(segment.size for segment in self.segments)
        video = max(self._expected, written)
        if done:
            video = round(written * max(1, self._source.inventory.packets / done))
        return video - written + video + self._source.inventory.other_bytes * self._source.copied

    def write(self, item: Frame | av.Packet) -> None:
        """Encode a frame. Packets pass by: those of the streams that are kept are copied in the end.

        Raises:
            OutputError: the file cannot be written.
        """
        if not isinstance(item, Frame):
            return
        try:
            if self._current is None:
                self._current = self._begun()
            self._current.write(item)
            if self._current.frames == SEGMENT_FRAMES:
                self._complete()
        except FAILURES as error:
            raise self.failed(error) from error

    def _begun(self) -> SegmentWriter:
        """The next segment."""
        encoder = SegmentEncoder(self._encoding, self._source.info.video, self.frames, self._shift)
        return SegmentWriter(self._path(len(self.segments)), encoder)

    def _path(self, number: int) -> Path:
        return self.folder / f"segment-{number:05}"

    def _complete(self) -> None:
        if self._current is not None:
            self.segments.append(self._current.complete())
            self._current = None
            gc.collect()  # container and streams of an encoder hold each other, and it all that it has looked ahead to
            self._completed(self.frames)

    def _find_segments(self) -> None:
        """Take those that are there, one behind the other; what is behind a damaged one is of no use."""
        while (path := self._path(len(self.segments))).exists():
            try:
                self.segments.append(read_segment(path))
            except OutputError:
                break
        left = sorted(self.folder.glob("segment-*"))[len(self.segments) :]
        self.damaged = len(left)
        for path in left:
            path.unlink()

    def _muxer(self, file: io.FileIO | io.BytesIO) -> Muxer:
        try:
            return Muxer(self._source, self._encoding, file)
        except FAILURES as error:
            raise self.failed(error) from error

    def _finish(self) -> None:
        try:
            self._complete()
        except FAILURES as error:
            raise self.failed(error) from error
        if not self.segments:
            raise OutputError(f"{self.destination.name} would hold no frames", "check the input")
        if not self.overwrite and os.path.lexists(self.destination):
            raise UsageError(f"{self.destination} appeared while it was made", "use --overwrite or another name")
        inputs = [self._source.info.path]
        output = OutputFile(self.destination, inputs=inputs, overwrite=self.overwrite, folder=self.folder)
        try:
            muxer = self._muxer(output.file)
            try:
                muxer.write(self.segments, self._muxed)
                output.complete()
                muxer.read_back(output)
            except FAILURES as error:
                raise self.failed(error) from error
            finally:
                muxer.close()
            self.differences += muxer.differences
            output.publish()
        finally:
            output.discard()

    def failed(self, error: Exception) -> DeblurError:
        if isinstance(error, DeblurError):
            if not isinstance(error.__cause__, OSError):
                return error
            error = error.__cause__
        number, name = getattr(error, "errno", 0), self.destination.name
        if number == errno.EINVAL:
            found = f"{self._encoding.muxer} refused the streams or their timing: {name}"
            return OutputError(found, "use .mkv" if self._encoding.muxer != "matroska" else "re-mux the input first")
        found = f"{name} cannot be written: {reason(error)}"
        if number in FULL:
            room = f"about {readable_size(self.needed)} more in {self.destination.parent}"
            return OutputError(found, f"make room for {room}, and run the same command again")
        return OutputError(found, "free space or choose another folder")

    def _discard(self) -> None:
        if self._current is not None:
            self._current.discard()
        if self._own is not None:
            self._own.close()
