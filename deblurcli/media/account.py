"""Packets in against pictures out: which picture was lost, which is damaged, which packet rightly gives none."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import av

from deblurcli.media.clock import Picture

MAY_SKIP = frozenset(
    {"mpeg4", "h263", "h263p", "h263i", "flv1", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "wmv3", "vc1"}
    | {"theora", "vp3", "vp4", "vp5", "vp6", "vp6f", "vp6a", "vp7", "rv10", "rv20", "rv30", "rv40", "svq1", "svq3"}
    | {"cinepak", "indeo2", "indeo3", "indeo4", "indeo5", "msvideo1", "msrle", "qtrle", "rpza", "smc", "rle", "tscc"}
    | {"tscc2", "zmbv", "flashsv", "flashsv2", "screenpresso", "fraps", "truemotion1", "truemotion2", "camtasia"}
)
"""Codecs in which a packet may say that the picture stays as it is, and decodes to nothing."""
MAX_FIELD = Fraction(3, 100)
"""Seconds between the two fields of a picture, at most."""
MAX_REORDERING = 32
"""Packets that a picture can be behind its own; no codec orders further."""
USUAL_REORDERING = 8
"""The same for AVI, which hardly holds such streams."""


@dataclass(eq=False)
class Entry:
    """A packet that went into the decoder."""

    number: int
    time: int | None
    silent: bool
    """It need not give a picture of its own."""
    sound: bool
    """What its container says against it is to be ignored."""
    complaint: str = ""


class Account:
    """Follows the packets of one stream through its decoder, in memory that does not grow.

    Pictures leave a decoder in order of time. A packet whose time is before that of one that left has lost its own.

    Args:
        slots: packets have no times of presentation, as in AVI: the first picture that comes out is shown in the slot
            of the first packet, and so on.
        reckoned: some times of packets are a demuxer's guess, which may be wrong.

    Attributes:
        entered: packets so far.
        unplaced: lost pictures whose time is not known; whoever places one takes it away.
        complaint: the first one.
    """

    def __init__(self, codec: str, time_base: Fraction, slots: bool, reckoned: bool) -> None:
        self.codec, self.time_base = codec, time_base
        self.reckoned = reckoned
        self.entered = self.unplaced = 0
        self.complaint = ""
        self._begun = False
        self._slots: deque[int | None] | None = deque() if slots else None
        self._pending: dict[int, Entry] = {}
        self._fields: dict[int, int | None] = {}  # interlaced pictures that just left: the number and time of each

    def enter(self, packet: av.Packet, sound: bool = False) -> None:
        """Note a packet that goes into the decoder, and mark it, so that the picture tells which one it is from."""
        number, self.entered = self.entered, self.entered + 1
        silent = packet.is_discard or self.codec in MAY_SKIP or not shown(self.codec, packet)
        entry = Entry(number, None if self._slots is not None else packet.pts, silent, sound)
        self._pending[number] = packet.opaque = entry
        if self._slots is not None:
            self._slots.append(packet.dts)

    def complain(self, complaint: str) -> None:
        """Note what the decoder said of the last packet."""
        self.complaint = self.complaint or complaint
        if entry := self._pending.get(self.entered - 1):
            entry.complaint = complaint

    def leave(self, frame: av.VideoFrame, reordered: bool) -> list[Picture]:
        """A picture that came out, behind those that were lost before it; ``reordered``: whether the stream may be."""
        entry = frame.opaque if isinstance(frame.opaque, Entry) else None
        number = entry.number if entry else -1
        self._pending.pop(number, None)
        damaged = bool(entry.complaint or (frame.is_corrupt and not entry.sound)) if entry else frame.is_corrupt
        if frame.interlaced_frame and self.codec == "h264":
            self._fields = {n: t for n, t in self._fields.items() if n > number - MAX_REORDERING} | {number: frame.pts}
        time = frame.pts if self._slots is None else None
        oldest = number - (MAX_REORDERING if self._slots is None else USUAL_REORDERING * reordered)
        over = [n for n, e in self._pending.items() if self._is_over(n, e, oldest, time)]
        self._begun = True
        return [*self._settle(over), Picture(frame, time if self._slots is None else self._slot(), damaged)]

    def close(self) -> list[Picture]:
        """The pictures that were lost at the end."""
        return self._settle(list(self._pending))

    def _is_over(self, number: int, entry: Entry, oldest: int, time: int | None) -> bool:
        sure = entry.complaint or not (self.reckoned and self._begun)
        if entry.time is not None and time is not None and sure:
            return entry.time < time
        return number < oldest

    def _slot(self) -> int | None:
        return self._slots.popleft() if self._slots else None

    def _settle(self, numbers: list[int]) -> list[Picture]:
        lost = []
        for number in numbers:
            entry = self._pending.pop(number)
            time = entry.time if self._slots is None else self._slot()
            if not entry.complaint and (entry.silent or self._is_second_field(number, entry)):
                continue
            if time is None:
                self.unplaced += 1
            else:
                lost.append(Picture(None, time))
        return sorted(lost, key=lambda picture: picture.time or 0)

    def _is_second_field(self, number: int, entry: Entry) -> bool:
        """H.264 may hold each field of a picture in a packet of its own; the picture is from the first one."""
        if number - 1 not in self._fields:
            return False
        first = self._fields.pop(number - 1)
        return entry.time is None or first is None or abs(entry.time - first) * self.time_base <= MAX_FIELD


def shown(codec: str, packet: av.Packet) -> bool:
    """Whether a packet holds a picture to show: VP8 and VP9 have some that others are predicted from, never shown."""
    if codec == "vp8":
        return bool(bytes(packet)[0] >> 4 & 1)
    if codec == "vp9":
        data = bytes(packet)
        if data[-1] >> 5 == 0b110:  # several in one packet, the last of which is shown
            return True
        after_profile = 3 if data[0] >> 4 & 3 != 3 else 2
        return bool(data[0] >> after_profile & 1 or data[0] >> (after_profile - 2) & 1)
    return True
