"""Streaming decoding: one frame at a time, with the source's own samples and times, and an account of every frame."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av

from deblurcli.errors import InputError
from deblurcli.files import reason
from deblurcli.media.account import Account
from deblurcli.media.clock import Clock, Picture, Timeline
from deblurcli.media.damage import Damage
from deblurcli.media.decoder import BROKEN_PACKET, WARNINGS, complaints, decoder_of, plain
from deblurcli.media.excerpt import Excerpt, as_written, chapters_within, place_before
from deblurcli.media.frames import Frame, FrameReader
from deblurcli.media.inventory import change_of_picture, take_inventory
from deblurcli.media.layout import PlaneLayout, layout_of, unpack, without_samples
from deblurcli.media.probe import MediaInfo, open_input, probe

MAX_FAILURES = 1000
"""Damaged packets in a row after which a file is given up."""
INCOMPLETE = "a packet is incomplete"
"""What is said where the container knows of damage that the decoder does not see."""
SPARE_BYTES = 256 << 20
"""Memory that reading takes at most besides a packet, which is no larger than its file."""


class VideoReader(FrameReader):
    """Decodes one video stream of a file, in constant memory. Use as a context manager; read through once.

    A frame that is lost to damage is replaced by the one before it (at the beginning, by the one behind), so that the
    number of frames and their times hold.

    Args:
        path: the video.
        copied: ``items`` also yields the packets of the other streams.
        strict: damage of any kind is refused, as soon as it is seen.
        excerpt: read this piece alone. Its frames keep their times; damage outside of it is not told.

    Attributes:
        info: what the file holds, or the piece of it.
        damage: everything that was found wrong with the file so far.

    Raises:
        InputError: the file is unusable, as :func:`deblurcli.media.probe.probe` says; the pictures change in size or
            format on the way; with ``strict``, it is damaged.
        UsageError: the video ends before the excerpt begins.
    """

    def __init__(
        self, path: Path, *, copied: bool = False, strict: bool = False, excerpt: Excerpt | None = None
    ) -> None:
        self.info: MediaInfo = probe(path)
        self._state = self._current_state()
        self.inventory = take_inventory(self.info)
        self.damage = Damage(self.info.path.name, strict)
        video = self.info.video
        with complaints() as said:
            self.container = open_input(self.info.path)
        # What is wrong with a packet is told again when it is read.
        words = [words for words in WARNINGS if words != BROKEN_PACKET]
        if opening := [text for _, _, text in said if any(part in text for part in words)]:
            self.damage.note_container(plain(opening[0]))
        self.stream = self.container.streams.video[[s.index for s in self.container.streams.video].index(video.index)]
        self.layout: PlaneLayout = layout_of(video.pix_fmt, video.colour)
        self.copied, self.excerpt = copied, excerpt
        self.within = (Fraction(0), None)
        self._decoder = decoder_of(self.stream)
        reckoned = self.info.container == "mpeg"  # which gives times to some pictures only
        self._account = Account(video.codec, video.time_base, self.info.container == "avi", reckoned)
        self._clock = Clock(self.inventory.restarts)
        self._timeline = Timeline(self.usual_duration, video.start, reckoned)
        self._frames = self._items()
        if self.inventory.start is not None:
            self._set_start(self.inventory.start)
        elif self.inventory.untimed:
            self._set_start(self._peek())
        if excerpt is not None:
            self._begin(excerpt)
        self.damage.note_inventory(self.inventory, float(self.info.video.start * video.time_base))

    def close(self) -> None:
        self.container.close()

    def items(self) -> Iterator[Frame | av.Packet]:
        return self._frames

    def chapters(self) -> list[dict[str, Any]]:
        return as_written(self.info.chapters) if self.excerpt is not None else self.container.chapters()

    @property
    def size(self) -> int:
        return self.info.path.stat().st_size

    def samples(self, places: int, count: int) -> Iterator[list[Frame]]:
        """As they are decoded behind a keyframe: their times are made up."""
        video, piece = self.info.video, self.excerpt is not None
        length = self.info.duration if piece else video.duration
        for place in range(places):
            frames: list[Frame] = []
            # Opened for each place, so that no decoder holds frames meanwhile.
            with contextlib.suppress(av.FFmpegError, OSError), open_input(self.info.path) as container:
                stream = container.streams[self.stream.index]
                with contextlib.suppress(av.FFmpegError, OSError, ValueError, IndexError):
                    if length and (place or piece):
                        at = video.start + round(length * place / places / video.time_base)
                        container.seek(at, stream=stream)
                    for picture in islice(container.decode(stream), count):
                        shape = (picture.width, picture.height, picture.format.name)
                        if shape == (video.width, video.height, video.pix_fmt):
                            pts, planes = video.start + len(frames) * self.usual_duration, unpack(picture, self.layout)
                            rest, step = without_samples(picture), self.usual_duration
                            frames.append(Frame(planes, self.layout, pts, video.time_base, step, rest))
            if frames:
                yield frames
            if not length:
                return

    def _set_start(self, start: int) -> None:
        """The first frame may be one that is lost, or one whose time follows from those behind it."""
        self.info = replace(self.info, video=replace(self.info.video, start=start))

    def _begin(self, excerpt: Excerpt) -> None:
        """Go to the first frame of a piece. Raises UsageError: there is none."""
        whole = self.info
        self.within = excerpt.within(whole)
        self.info = excerpt.of(whole)
        if (at := place_before(whole, self.inventory, self.within[0])) is not None:
            self.container.seek(at, stream=self.stream)
        self.inventory = excerpt.of_inventory(self.inventory, self.info)
        self._frames = self._items()
        self._set_start(self._peek())
        # All times are counted from the first frame, which may be shown a little later than was asked for.
        first = self.info.video.start * self.info.video.time_base
        self.within = (first, self.within[1])
        self.info = replace(self.info, chapters=chapters_within(whole.chapters, *self.within))

    def _asked_for(self, items: Iterator[Picture | av.Packet]) -> Iterator[Picture | av.Packet]:
        """The pictures that belong to the excerpt, in order of time, and whatever else passes through."""
        begin, end = self.within
        clock = self.info.video.time_base
        for item in items:
            if isinstance(item, Picture):
                at = (item.time or 0) * clock
                if end is not None and at >= end:
                    return
                if at < begin:
                    continue
            yield item

    def _peek(self) -> int:
        """The time of the first frame."""
        seen: list[Frame | av.Packet] = []
        start = self.info.video.start
        for item in self._frames:
            seen.append(item)
            if isinstance(item, Frame):
                start = item.pts
                break
        self._frames = chain(seen, self._frames)
        return start

    def _items(self) -> Iterator[Frame | av.Packet]:
        # A frame is held back until the next one tells how long it lasts.
        held: Frame | None = None
        pictures = self._timeline.set(self._pictures())
        for item in self._whole(pictures if self.excerpt is None else self._asked_for(pictures)):
            if isinstance(item, av.Packet):
                yield item
                continue
            if self._timeline.nudged > self.damage.moved:
                self.damage.note_moved(self._timeline.nudged)
            if held:
                yield replace(held, duration=item.pts - held.pts)
            held = item
        if held is None and self.excerpt is not None:
            raise self.excerpt.behind_the_end(self.info, None)
        if held is None:
            raise InputError(f"{self.info.path.name} holds no frame that decodes", "re-mux it, or copy it again")
        yield self._last(held)

    def _whole(self, items: Iterator[Picture | av.Packet]) -> Iterator[Frame | av.Packet]:
        """Frames for all pictures; for one that was lost, a neighbour again."""
        last: Frame | None = None
        early: list[int] = []
        step = self.usual_duration
        for item in items:
            if isinstance(item, av.Packet):
                yield item
                continue
            time = item.time or 0
            if item.frame is None:
                self.damage.note_lost(self._seconds(time))
                if last is None:
                    early.append(time)
                else:
                    last = replace(last, pts=time, duration=0)
                    yield last
                continue
            frame = self._unpacked(item.frame, time)
            if item.damaged:
                self.damage.note_damaged(self._seconds(time), self._account.complaint)
            for missing in early:
                yield replace(frame, pts=missing, duration=0)
            early = []
            # Of some lost pictures only the number is known, and the gap that they left.
            while last and self._account.unplaced and frame.pts - last.pts > 1.5 * step:
                last = self._again(last, step)
                yield last
            last = frame
            yield frame
        while last and self._account.unplaced:
            last = self._again(last, step)
            yield last

    def _again(self, frame: Frame, step: int) -> Frame:
        self._account.unplaced -= 1
        self.damage.note_lost(self._seconds(frame.pts + step))
        return replace(frame, pts=frame.pts + step, duration=0)

    def _pictures(self) -> Iterator[Picture | av.Packet]:
        in_a_row = 0
        for packet in self._demux():
            self._clock.move(packet)
            # Not ``stream_index``: that is 0 in the empty packet that ends a stream, and sound may come first.
            if packet.stream.index != self.stream.index:
                if packet.size:  # an empty one only marks the end
                    if packet.is_corrupt and not self._is_joint(packet):
                        self.damage.note_copied(packet.stream_index, packet.stream.type)
                    if self._clock.straighten(packet):
                        self.damage.note_nudged(packet.stream_index)
                    yield packet
                continue
            joint = bool(packet.size) and self._is_joint(packet)
            if packet.size:
                self._account.enter(packet, joint)
            frames = self._decoder.decode(packet)
            incomplete = packet.size and packet.is_corrupt and not joint
            complaint = self._decoder.complaint or (INCOMPLETE if incomplete else "")
            if complaint:
                in_a_row = 0 if frames else in_a_row + 1
                self._account.complain(complaint)
                if in_a_row >= MAX_FAILURES:
                    found = f"{self.info.path.name}: {MAX_FAILURES} damaged packets in a row ({complaint})"
                    raise InputError(found, "copy it again, or cut out the damaged part")
            elif frames:
                in_a_row = 0
            for frame in frames:
                yield from self._account.leave(frame, bool(self._decoder.context.has_b_frames))
        yield from self._account.close()
        if self.excerpt is None and self._account.entered < self.inventory.packets:
            self.damage.note_shrunk(self.inventory.packets, self._account.entered)
        elif self._current_state() != self._state:
            self.damage.note_changed()

    def _current_state(self) -> tuple[int, int]:
        """Size and time of change of what has the file's name now; its number is not the same twice on some drives."""
        try:
            found = self.info.path.stat()
        except OSError:
            return -1, -1
        return found.st_size, found.st_mtime_ns

    def _is_joint(self, packet: av.Packet) -> bool:
        """Whether a break at a packet is nothing new."""
        return self.inventory.joined or self._clock.is_joint(packet)

    def _may_be_short(self) -> bool:
        """Whether memory may really not suffice for a packet; otherwise the file claims more than it has."""
        from deblurcli.device import free_system_memory

        return free_system_memory() < self.info.path.stat().st_size + SPARE_BYTES

    def _demux(self) -> Iterator[av.Packet]:
        """The packets of the streams that are read; where one cannot be, it goes on behind the damage."""
        streams = [] if self.copied else [self.stream]
        packets, in_a_row = self.container.demux(*streams), 0
        while True:
            with complaints() as said:
                try:
                    packet = next(packets, None)
                except (av.FFmpegError, OSError) as error:
                    if isinstance(error, MemoryError) and self._may_be_short():
                        raise
                    packet = None
                    said.append((0, "", reason(error)))
                    packets, in_a_row = self.container.demux(*streams), in_a_row + 1
                except IndexError:  # as in ``inventory.readable``
                    packet, in_a_row = None, -1
                    self.damage.note_late()
                else:
                    in_a_row = -1
            # Where the clock restarts, a break is nothing new.
            known = self.inventory.restarts or self.inventory.joined
            told = [text for _, _, text in said if not (known and BROKEN_PACKET in text)]
            if told:
                self.damage.note_container(plain(told[0]))
            if in_a_row >= MAX_FAILURES:
                found = f"{self.info.path.name}: {MAX_FAILURES} places in a row cannot be read"
                raise InputError(found, "copy it again, or cut out the damaged part")
            if packet is not None:
                yield packet
            elif in_a_row < 0:
                return

    def _unpacked(self, frame: av.VideoFrame, pts: int) -> Frame:
        video = self.info.video
        old, new = (video.width, video.height, video.pix_fmt), (frame.width, frame.height, frame.format.name)
        if old != new:
            raise change_of_picture(self.info.path, old, new, (pts - video.start) * video.time_base)
        planes = unpack(frame, self.layout)
        return Frame(planes, self.layout, pts, video.time_base, frame.duration or 0, without_samples(frame))

    def _seconds(self, pts: int) -> float:
        """Time since the beginning of the video."""
        video = self.info.video
        return float((pts - video.start) * video.time_base)

    def _last(self, frame: Frame) -> Frame:
        """The last frame lasts until the stream's claimed end, unless the file ends before it; that of a piece, no
        longer than a usual one, or to the end of the piece."""
        video = self.info.video
        usual = self.usual_duration
        duration = frame.duration or usual
        if (end := self.within[1]) is not None:
            duration = min(duration, max(usual, -int(-end // video.time_base) - frame.pts))
        if video.duration and not self.damage.ends and not self.damage.lost.count and not self.inventory.restarts:
            # Matroska counts from zero, the others from the first frame.
            begins = 0 if "matroska" in self.info.container else video.start
            rest = round(video.duration / video.time_base) - (frame.pts - begins)
            if 0 < rest <= 10 * max(usual, duration):
                duration = rest
        return replace(frame, duration=duration)
