"""A look through all packets of a file before the work begins: how many there are, and what changes on the way.

Nothing is decoded but a keyframe a second, which is cheap beside restoring; so a video that cannot be restored to its
end is refused at once, not after hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av

from deblurcli.errors import InputError
from deblurcli.media.account import MAX_REORDERING
from deblurcli.media.clock import Continuity, Restart
from deblurcli.media.decoder import Decoder, decoder_of
from deblurcli.media.probe import MediaInfo, open_input
from deblurcli.media.structure.groups import CODECS, Groups
from deblurcli.media.structure.transport import PACKET_LENGTHS, packet_length
from deblurcli.media.structure.walk import look_at_structure

DISCONTINUOUS = ("mpegts", "mpeg")
"""Containers made for broadcasting, in which a clock may leap ahead."""
TIMED = ("matroska", "mov", "flv", "asf", "mxf")
"""Containers whose header says how long the file lasts."""
MAX_SHORTFALL = Fraction(1, 2)
"""Seconds by which a header may be wrong about the length of a whole file."""
LOOK_INTERVAL = Fraction(1)
"""Seconds between the keyframes that are looked at, at least."""
NO_COUNT = 1 << 30
"""Frames in the header of AVI from which on it was written before they were counted."""
MAX_UNWRITTEN = 1
"""Packets of sound that AVI may count and not hold: what an encoder began with."""
MAX_FAILURES = 1000
"""Places in a row where a container cannot be read, after which the rest is given up."""


@dataclass(frozen=True)
class Inventory:
    """What the packets of a file tell."""

    packets: int
    """Packets of the video stream."""
    start: int | None
    """The earliest time of a picture, in the stream's time base; None where the first one has none."""
    untimed: bool
    """Whether the first picture has no time."""
    restarts: tuple[Restart, ...]
    cut: str
    """How much less the file holds than its header promises; empty if nothing is missing."""
    faults: tuple[str, ...]
    """What else is missing or does not fit together."""
    joined: bool
    """Recordings are joined without damage: what FFmpeg says of their packets is about the joints."""
    other_bytes: int = 0
    """Bytes of the packets of the other streams."""


def take_inventory(info: MediaInfo) -> Inventory:
    """Look through a file; a second look at the same unchanged file costs nothing.

    Raises:
        InputError: the pictures change in size or format.
    """
    status = info.path.stat()
    return _take(info.path, info.video.index, status.st_size, status.st_mtime_ns, _Facts.of(info))


@dataclass(frozen=True)
class _Facts:
    """What of a description decides, as a key."""

    container: str
    duration: Fraction | None
    video_duration: Fraction | None
    frames: int | None
    rate: Fraction | None
    picture: tuple[int, int, str]

    @staticmethod
    def of(info: MediaInfo) -> _Facts:
        video = info.video
        picture = (video.width, video.height, video.pix_fmt)
        return _Facts(info.container, info.duration, video.duration, video.frames, video.rate, picture)


@lru_cache(maxsize=32)
def _take(path: Path, index: int, size: int, changed: int, facts: _Facts) -> Inventory:
    with open_input(path) as container:
        stream = container.streams.video[[s.index for s in container.streams.video].index(index)]
        timed = {other.index for other in container.streams if other.type == "audio"} | {index}
        listed = {other.index: _listed_packets(other, facts) for other in container.streams if other.index in timed}
        # The header of AVI counts the packets of sound where each is a tick; else it counts bytes or samples.
        sounds = container.streams.audio if facts.container == "avi" else ()
        counted = {sound.index: sound.frames for sound in sounds if sound.frames < NO_COUNT}
        continuity = Continuity(timed, facts.container in DISCONTINUOUS)
        looks = _Looks(path, stream, facts, continuity)
        codec = stream.codec_context.codec.canonical_name
        groups = Groups(facts.rate, facts.container in DISCONTINUOUS) if codec in CODECS else None
        ordinals: dict[int, int] = {}
        other_bytes = 0
        held: dict[int, int] = {}
        places = 0
        first: list[int | None] = []
        end = all_end = Fraction(0)
        place = 0
        for packet in readable(container):
            if not packet.size:
                continue
            held[packet.stream_index] = held.get(packet.stream_index, 0) + (not packet.is_discard)
            ordinal = ordinals[packet.stream_index] = ordinals.get(packet.stream_index, -1) + 1
            continuity.add(packet, ordinal)
            if packet.duration != 1:
                counted.pop(packet.stream_index, None)
            at = packet.pts if packet.pts is not None else packet.dts
            over = Fraction(0) if at is None else (at + (packet.duration or 0)) * packet.time_base
            all_end = max(all_end, over)
            if packet.stream_index != index:
                other_bytes += packet.size
            else:
                places = max(places, (packet.dts or 0) + 1)
                end = max(end, over)
                place = max(place, (packet.pos or 0) + packet.size)
                if ordinal < MAX_REORDERING and not packet.is_discard:
                    first.append(packet.dts if facts.container == "avi" else packet.pts)
                if groups:
                    groups.add(packet)
                looks.add(packet, ordinal)
        looks.close()
        restarts = continuity.restarts(index)
        counts = {other: number + 1 for other, number in ordinals.items()}
        structure = look_at_structure(path, container, bool(restarts), counts, held, {index, *counted})
        faults = list(structure.faults)
        if groups:
            groups.close()
            if groups.missing:
                faults.append(f"by their numbers and times, {groups.missing} pictures of the video are missing")
    packets = ordinals.get(index, -1) + 1
    listed = {
        other: max(count, counted[other] - MAX_UNWRITTEN) if other in counted else count
        for other, count in listed.items()
    }
    short = [other for other, count in listed.items() if other != index and ordinals.get(other, -1) + 1 < count]
    promised = listed[index]
    if facts.container == "avi":
        # Frames that stay as they are have a place in the order, and no packet.
        claimed = facts.frames if facts.frames and facts.frames < NO_COUNT else 0
        promised = max(promised, claimed - (max(places, packets) - packets))
    known = [time for time in first if time is not None]
    start = min(known) if known and first[0] is not None else None
    cut = (
        _shortfall(packets, promised, facts)
        or (f"the index lists more packets of stream {short[0]} than the file holds: some are missing" if short else "")
        or ("" if restarts else _missing_time(end, all_end, facts))
        or (_broken_end(path, size) if facts.container == "mpegts" else "")
        or (cut_within(packets) if facts.container == "yuv4mpegpipe" and size > place else "")
    )
    untimed = bool(first) and first[0] is None
    return Inventory(packets, start, untimed, restarts, cut, tuple(faults), structure.joined, other_bytes)


def readable(container: av.container.InputContainer, *streams: av.VideoStream) -> Iterator[av.Packet]:
    """The packets that can be read; where one cannot, it goes on behind the damage."""
    packets, failures = container.demux(*streams), 0
    while failures < MAX_FAILURES:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):
            packets, failures = container.demux(*streams), failures + 1
            continue
        except IndexError:  # behind the last packet, where streams began that were not there at the beginning
            return
        if packet is None:
            return
        failures = 0
        yield packet


def _listed_packets(stream: av.stream.Stream, facts: _Facts) -> int:
    return len(stream.index_entries or ()) if "mov" in facts.container or facts.container == "avi" else 0


def _shortfall(packets: int, promised: int, facts: _Facts) -> str:
    if packets >= promised:
        return ""
    span, held = (f" ({float(number / facts.rate):.2f} s)" if facts.rate else "" for number in (promised, packets))
    return f"the header promises {promised} frames{span}, the file holds {packets}{held}: it was cut"


def _missing_time(end: Fraction, all_end: Fraction, facts: _Facts) -> str:
    if not any(name in facts.container for name in TIMED):
        return ""
    step = 1 / facts.rate if facts.rate else Fraction(1, 25)
    for promised, held, margin in (
        (facts.video_duration if "matroska" in facts.container else None, end, 2 * step),
        (facts.duration, all_end, max(MAX_SHORTFALL, 2 * step)),
    ):
        if promised and promised - held > margin:
            return f"the header promises {float(promised):.2f} s, the file holds {float(held):.2f} s: it was cut"
    return ""


def _broken_end(path: Path, size: int) -> str:
    """A transport stream is made of packets of one length."""
    with path.open("rb") as file:
        length = packet_length(file.read(2 * max(PACKET_LENGTHS) + 1))
    return "the file ends in the middle of a packet: it was cut" if length and size % length else ""


def cut_within(frames: int) -> str:
    """What is said of y4m that ends within the frame behind so many."""
    return f"the video ends within frame {frames + 1}, which is left out: it was cut"


class _Looks:
    """Looks at keyframes for pictures of another size or format."""

    def __init__(self, path: Path, stream: av.VideoStream, facts: _Facts, continuity: Continuity) -> None:
        self.path, self.stream, self.facts, self.continuity = path, stream, facts, continuity
        self._origin: Fraction | None = None
        self.decoder = decoder_of(stream)
        self._looked: tuple[int, Fraction] | None = None  # number and time of the last one looked at
        self._skipped: tuple[av.Packet, int] | None = None

    def add(self, packet: av.Packet, ordinal: int) -> None:
        """Look at a packet if its turn has come."""
        at = _time(packet)
        if self._origin is None or (ordinal < MAX_REORDERING and at < self._origin):
            self._origin = at
        if not packet.is_keyframe or packet.is_discard:
            return
        if self._looked and 0 <= at - self._looked[1] < LOOK_INTERVAL:
            self._skipped = (packet, ordinal)
            return
        self._look(packet, ordinal)

    def close(self) -> None:
        """Look at the last keyframe."""
        if self._skipped:
            self._look(*self._skipped)

    def _look(self, packet: av.Packet, ordinal: int) -> None:
        before = self._looked[0] if self._looked else -1
        self._looked, self._skipped = (ordinal, _time(packet)), None
        if (picture := keyframe(self.decoder, packet)) and picture != self.facts.picture:
            ordinal, at, picture = self._first_change(before, ordinal) or (ordinal, _time(packet), picture)
            index = self.stream.index
            moved = [r.moved for r in self.continuity.restarts(index) if ordinal >= r.ordinals.get(index, ordinal + 1)]
            at += moved[-1] if moved else 0
            raise change_of_picture(self.path, self.facts.picture, picture, at - (self._origin or 0))

    def _first_change(self, after: int, until: int) -> tuple[int, Fraction, tuple[int, int, str]] | None:
        """The earliest keyframe of another kind among the packets numbered so: number, time, and what it is."""
        with open_input(self.path) as container:
            stream = next(s for s in container.streams.video if s.index == self.stream.index)
            decoder, number = decoder_of(stream), -1
            for packet in readable(container, stream):
                number += bool(packet.size)
                if after < number <= until and packet.size and packet.is_keyframe:
                    picture = keyframe(decoder, packet)
                    if picture and picture != self.facts.picture:
                        return number, _time(packet), picture
        return None


def keyframe(decoder: Decoder, packet: av.Packet) -> tuple[int, int, str] | None:
    """Width, height and format of a keyframe alone, if it decodes."""
    frames = decoder.decode(packet)
    complaint = decoder.complaint
    frames += decoder.decode(av.Packet())
    decoder.rewind()
    if complaint or decoder.complaint or not frames:
        return None
    return frames[0].width, frames[0].height, frames[0].format.name


def change_of_picture(path: Path, old: tuple[int, int, str], new: tuple[int, int, str], at: Fraction) -> InputError:
    """What is said of a video that changes its size or format; ``at``: seconds since its beginning."""
    was, now = (f"{width}x{height} {pix_fmt}" for width, height, pix_fmt in (old, new))
    return InputError(f"{path.name} changes from {was} to {now} at {float(at):.2f} s", "cut it in two there first")


def _time(packet: av.Packet) -> Fraction:
    at = packet.pts if packet.pts is not None else packet.dts
    return Fraction(0) if at is None else at * packet.time_base
