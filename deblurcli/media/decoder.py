"""Decoding one packet after the other, so that what a decoder complains of belongs to a packet."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import av

ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders that read the alpha of WebM, which FFmpeg's own ignore; by codec."""

BROKEN_PACKET = "Packet corrupt"
WARNINGS = (
    BROKEN_PACKET,
    "exceeds containing master element",
    "invalid as first byte of an EBML number",
    "Unknown-sized element",
    "is invalid (first=",
)
"""Damage of containers that FFmpeg only warns of."""

# What nobody listens to goes nowhere.
logging.getLogger("libav").addHandler(logging.NullHandler())
logging.getLogger("libav").propagate = False
_listening = [0]
_lock = threading.Lock()


@contextmanager
def listening(level: int) -> Iterator[list[tuple[int, str, str]]]:
    """What FFmpeg logs in this thread meanwhile, up to a level of ``av.logging``: level, who, and what.

    It is listened to no longer than it takes: its log needs the interpreter, and an encoder that is opened or closed
    holds that while it waits for its own threads, which may have something to log.
    """
    with _lock:
        _listening[0] += 1
        av.logging.set_level(level)
        av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as said:
            yield said
    finally:
        with _lock:
            _listening[0] -= 1
            if not _listening[0]:
                av.logging.set_level(av.logging.PANIC)  # None would trip over a message that is on its way in a thread


@contextmanager
def complaints() -> Iterator[list[tuple[int, str, str]]]:
    """Errors that FFmpeg logs in this thread, and warnings that are about damage: of much, only its log tells."""
    found: list[tuple[int, str, str]] = []
    with listening(av.logging.WARNING) as said:
        yield found
    found += [entry for entry in said if entry[0] <= av.logging.ERROR or any(w in entry[2] for w in WARNINGS)]


class Decoder:
    """A decoder in this thread alone: with more, the damage in one packet is told at another one, or never.

    Attributes:
        complaint: what the decoder had to say of the last packet; empty if it was sound.
    """

    def __init__(self, context: av.VideoCodecContext) -> None:
        context.thread_count = 1
        context.copy_opaque = True  # a frame carries the ``opaque`` of the packet that it is from
        self.context = context
        self.complaint = ""

    def decode(self, packet: av.Packet) -> list[av.VideoFrame]:
        """The frames that come out for a packet; an empty packet brings out those still inside.

        A packet that does not decode gives none and a complaint. Raises MemoryError.
        """
        frames: list[av.VideoFrame] = []
        self.complaint = ""
        with complaints() as said:
            try:
                frames = self.context.decode(packet if packet.size else None)
            except av.error.MemoryError:
                raise
            except (av.FFmpegError, OSError) as error:
                self.complaint = plain(error.strerror or str(error))
        if said:
            self.complaint = plain(said[0][2])
        return frames

    def rewind(self) -> None:
        """Forget all packets; the next one must be a keyframe."""
        self.context.flush_buffers()


def decoder_of(stream: av.VideoStream) -> Decoder:
    """The decoder that reads all that a video stream holds, alpha included."""
    context = stream.codec_context
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    name = ALPHA_DECODERS.get(context.codec.canonical_name) if tags.get("alpha_mode") == "1" else None
    if name in av.codecs_available:
        other = av.VideoCodecContext.create(name, "r")
        other.extradata = context.extradata
        return Decoder(other)
    return Decoder(context)


def plain(text: str) -> str:
    """A message of FFmpeg on one line, without what a damaged file may have put into it."""
    return "".join(filter(str.isprintable, " ".join(text.split()))).rstrip(".")
