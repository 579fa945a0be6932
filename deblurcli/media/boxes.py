"""Boxes of the MP4 and QuickTime family (ISO/IEC 14496-12): what a track says of its samples, read and carried over.

FFmpeg reads and writes most of a track's description, but not all of it: descriptions of timed metadata that it has no
name for come out empty, and what stands in a video's description besides its codec (clean aperture, projection,
ambient light) is not passed on. These are copied here, box by box, after the file is complete.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

VISUAL_ENTRY = 78
"""Bytes of a video's sample entry (8 of its header not counted) before its boxes."""
MAX_MOVIE = 1 << 30
"""Largest index, in bytes, that is read."""
NESTED = (b"trak", b"mdia", b"minf", b"stbl")
MEDIA_HEADERS = frozenset({b"gmhd", b"nmhd", b"sthd", b"smhd"})
"""Media headers of tracks that are not pictures."""

PLACE = b"\xa9xyz"
"""Where a video was taken (ISO 6709), in user data, where phones look for it."""
USER_TAGS = {b"titl": "title", b"auth": "author", b"perf": "artist", b"dscp": "description", b"cprt": "copyright"}
USER_TAGS |= {b"albm": "album", b"gnre": "genre"}
SHOWN = frozenset({b"tapt", b"uuid"})
"""Boxes of a track itself: QuickTime's apertures, and the first form of spherical metadata."""

Boxes = list[tuple[bytes, bytes]]
"""Type and content of consecutive boxes; what is too short to be a box has the type b""."""


def boxes(content: bytes) -> Boxes:
    """Cut the content of a box, or of a file, into the boxes in it. Damaged sizes end the list with what is left."""
    found: Boxes = []
    at = 0
    while len(content) - at >= 8:
        size, kind = struct.unpack_from(">I4s", content, at)
        header = 8
        if size == 1 and len(content) - at >= 16:
            size, header = struct.unpack_from(">Q", content, at + 8)[0], 16
        elif size == 0:
            size = len(content) - at
        if not header <= size <= len(content) - at:
            break
        found.append((kind, content[at + header : at + size]))
        at += size
    return found + [(b"", content[at:])] * (at < len(content))


def joined(parts: Boxes) -> bytes:
    """The bytes of boxes, one after the other."""
    return b"".join(
        content if not kind else struct.pack(">I4s", len(content) + 8, kind) + content for kind, content in parts
    )


@dataclass(frozen=True)
class Track:
    """One track, as its boxes describe it."""

    id: int
    """FFmpeg's ``id`` of the stream."""
    handler: bytes
    """What kind of media it holds, as ``vide`` or ``meta``."""
    description: bytes
    """Content of ``stsd``."""
    content: bytes
    """Content of ``trak``."""

    @property
    def entries(self) -> Boxes:
        """The sample entries."""
        return boxes(self.description[8:])

    @property
    def extensions(self) -> Boxes:
        """The boxes in a video's (first) sample entry, its codec's own configuration among them."""
        entries = self.entries
        return boxes(entries[0][1][VISUAL_ENTRY:]) if self.handler == b"vide" and entries else []

    @property
    def around(self) -> Boxes:
        """The boxes of a video's track that say how it is shown."""
        return [part for part in boxes(self.content) if part[0] in SHOWN] if self.handler == b"vide" else []


class Movie(NamedTuple):
    """The index of a file."""

    tracks: dict[int, Track]
    """By id."""
    user_data: Boxes

    @property
    def tags(self) -> dict[str, str]:
        """What 3GPP's boxes of user data say (TS 26.244), by FFmpeg's names of tags; FFmpeg does not read them."""
        found = {}
        for kind, content in self.user_data:
            if kind in USER_TAGS and len(content) > 6:
                found[USER_TAGS[kind]] = content[6:].split(b"\0")[0].decode("utf-8", "replace")
        return found


def movie(file: BinaryIO) -> Movie:
    """The index of a file; empty where it is not of this family, or damaged."""
    _, content = _movie(file)
    found = {}
    for kind, inner in boxes(content):
        if kind == b"trak" and (track := _track(inner)):
            found[track.id] = track
    return Movie(found, boxes(_child(content, b"udta")))


def carry(file: BinaryIO, source: Movie, pairs: dict[int, int], kinds: frozenset[bytes]) -> None:
    """Copy descriptions of tracks into a complete file, whose index must be its last box; else it is left as it is.

    Args:
        file: open for reading and writing.
        source: the index to copy from.
        pairs: ids of the file's tracks, and of the source's tracks that they come from.
        kinds: the boxes of a video's description that stay true when its pixels change.
    """
    start, movie = _movie(file)
    if start is None:
        return
    back = {old: new for new, old in pairs.items()}
    parts: Boxes = []
    for kind, content in boxes(movie):
        track = _track(content) if kind == b"trak" else None
        if track and (old := source.tracks.get(pairs.get(track.id, 0))):
            content = _described(content, track, old, kinds)
            content = _referring(_surrounded(content, track, old, kinds), old, back)
        parts.append((kind, content))
    parts = _with_user_data(parts, source.user_data)
    changed = joined([(b"moov", joined(parts))])
    if changed != joined([(b"moov", movie)]):
        file.seek(start)
        file.write(changed)
        file.truncate()


def _with_user_data(parts: Boxes, source: Boxes) -> Boxes:
    """The boxes of an index, with what its source's user data say that the muxer does not write."""
    have = {kind for name, content in parts if name == b"udta" for kind, _ in boxes(content)}
    more = joined([part for part in source if part[0] in {PLACE, *USER_TAGS} - have])
    if not more or b"udta" not in dict(parts):
        return [*parts, (b"udta", more)] if more else parts
    return [(kind, content + more if kind == b"udta" else content) for kind, content in parts]


def _movie(file: BinaryIO) -> tuple[int | None, bytes]:
    """Where ``moov`` begins if it is the last box, and its content; empty where there is none."""
    size, begin = file.seek(0, 2), 0
    for kind, start, end in outermost(file, size):
        if end > size:
            break
        if kind == b"moov" and end - begin <= MAX_MOVIE:
            file.seek(start)
            return begin if end == size else None, file.read(end - start)
        begin = end
    return None, b""


def outermost(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """The outermost boxes: kind, and where the content begins and ends, which may be behind the end of the file."""
    at = 0
    while size - at >= 8:
        file.seek(at)
        header = file.read(16)
        length, skip = int.from_bytes(header[:4], "big"), 8
        if length == 1 and len(header) == 16:
            length, skip = int.from_bytes(header[8:], "big"), 16
        length = size - at if length == 0 else length
        if length < skip:
            return
        yield header[4:8], at + skip, at + length
        at += length


def first(parts: Boxes, kind: bytes) -> bytes:
    """The content of the first box of a kind; empty where there is none."""
    return next((content for inner, content in parts if inner == kind), b"")


def track_id(header: bytes) -> int:
    """The number in the content of ``tkhd``; 0 where it is too short."""
    at = 20 if header[:1] == b"\1" else 12
    return int.from_bytes(header[at : at + 4], "big")


def _child(content: bytes, *path: bytes) -> bytes:
    for name in path:
        content = first(boxes(content), name)
    return content


def _track(content: bytes) -> Track | None:
    header = _child(content, b"tkhd")
    if len(header) < (24 if header[:1] == b"\1" else 16):
        return None
    handler = _child(content, b"mdia", b"hdlr")[8:12]
    description = _child(content, b"mdia", b"minf", b"stbl", b"stsd")
    return Track(track_id(header), handler, description, content)


def _described(content: bytes, track: Track, source: Track, kinds: frozenset[bytes]) -> bytes:
    """A track with the description that its source has."""
    if track.handler == b"vide" and source.handler == b"vide":
        have = {kind for kind, _ in track.extensions}
        more = [(kind, inner) for kind, inner in source.extensions if kind in kinds - have]
        if not more or not track.entries:
            return content
        kind, entry = track.entries[0]
        extended = joined([*(part for part in track.extensions if part[0]), *more])
        entries = [(kind, entry[:VISUAL_ENTRY] + extended), *track.entries[1:]]
        return _replaced(content, {b"stsd": track.description[:8] + joined(entries)})
    if source.handler in (b"vide", b"tmcd", track.handler) and track.handler in (b"vide", b"soun", b"tmcd"):
        return content
    if source.description == track.description:
        return content
    header = next(
        ((kind, inner) for kind, inner in boxes(_child(source.content, b"mdia", b"minf")) if kind in MEDIA_HEADERS),
        None,
    )
    changes = {b"hdlr": _child(source.content, b"mdia", b"hdlr"), b"stsd": source.description}
    return _replaced(content, changes, header)


def _surrounded(content: bytes, track: Track, source: Track, kinds: frozenset[bytes]) -> bytes:
    """A track with the boxes of its source that say how it is shown."""
    have = {kind for kind, _ in track.around}
    more = [part for part in source.around if part[0] in kinds - have]
    return joined([*boxes(content), *more]) if more and track.handler == b"vide" else content


def _replaced(
    content: bytes,
    changes: dict[bytes, bytes],
    media_header: tuple[bytes, bytes] | None = None,
    inside: bytes = b"trak",
) -> bytes:
    """The boxes of a track with some contents exchanged: the handler of ``mdia``, the header of ``minf``, ``stsd``."""
    parts: Boxes = []
    for kind, inner in boxes(content):
        if kind in NESTED:
            inner = _replaced(inner, changes, media_header, kind)
        elif kind in changes and (kind == b"stsd" or inside == b"mdia"):
            inner = changes[kind]
        elif media_header and kind in MEDIA_HEADERS:
            kind, inner = media_header
        parts.append((kind, inner))
    return joined(parts)


def _referring(content: bytes, source: Track, ids: dict[int, int]) -> bytes:
    """A track with its source's references to other tracks, by their ids in this file."""
    if _child(content, b"tref"):
        return content
    references: Boxes = []
    for kind, inner in boxes(_child(source.content, b"tref")):
        old = struct.unpack(f">{len(inner) // 4}I", inner[: len(inner) // 4 * 4])
        if kind not in (b"chap", b"tmcd") and old and all(number in ids for number in old):
            references.append((kind, struct.pack(f">{len(old)}I", *(ids[number] for number in old))))
    return joined([*boxes(content), (b"tref", joined(references))]) if references else content
