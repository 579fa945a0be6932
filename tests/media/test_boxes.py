"""Boxes of the MP4 family: read, written, and carried from file to file."""

import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import pytest
from clips import make_clip
from mp4_extras import CLAP, extended
from zero_change import copy

from deblurcli.media import boxes
from deblurcli.media.probe import probe


def test_boxes_and_joined_are_inverse() -> None:
    parts = [(b"free", b"abc"), (b"moov", b""), (b"", b"\0\0\0")]
    assert boxes.boxes(boxes.joined(parts)) == parts


@pytest.mark.parametrize("size", [0, 3, 7, 2**31])
def test_a_damaged_size_ends_the_list(size: int) -> None:
    content = struct.pack(">I4s", 12, b"free") + b"abcd" + struct.pack(">I4s", size, b"moov") + b"xy"
    found = boxes.boxes(content)
    assert found[0] == (b"free", b"abcd")
    assert found[1:] == ([(b"moov", b"xy")] if size == 0 else [(b"", content[12:])])


def test_long_sizes(tmp_path: Path) -> None:
    content = struct.pack(">I4sQ", 1, b"mdat", 20) + b"abcd" + struct.pack(">I4s", 8, b"free")
    assert boxes.boxes(content) == [(b"mdat", b"abcd"), (b"free", b"")]


def test_other_files_have_no_tracks(tmp_path: Path) -> None:
    for content in (b"", b"\0", b"not a box at all", bytes(100), make_clip(tmp_path / "a.mkv").read_bytes()):
        assert boxes.movie(io.BytesIO(content)) == ({}, [])


def test_a_box_is_carried_and_the_file_still_plays(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", codec="libx264")
    before = [frame.to_ndarray().tobytes() for frame in av.open(str(source)).decode(video=0)]
    extended(source, b"clap", CLAP)
    with source.open("rb") as file:
        assert dict(boxes.movie(file).tracks[1].extensions)[b"clap"] == CLAP
    with av.open(str(source)) as container:
        assert [frame.to_ndarray().tobytes() for frame in container.decode(video=0)] == before
        assert container.duration == round(Fraction(12, 25) * av.time_base)


def test_a_file_whose_index_comes_first_is_left_alone(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w", format="mp4", options={"movflags": "faststart"}) as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height = 64, 48
        for number in range(3):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    content = source.read_bytes()
    extended(source, b"clap", CLAP)
    assert source.read_bytes() == content


def test_user_data_that_ffmpeg_does_not_know_are_tags_and_are_carried(tmp_path: Path) -> None:
    source, result = (make_clip(tmp_path / name, codec="libx264") for name in ("a.mp4", "b.mp4"))
    user_data = [(b"\xa9xyz", b"\0\x12U\xc4+48.8577+002.2950/"), (b"titl", bytes(4) + b"\x15\xc7Ein Titel\0")]
    for path in (source, result):
        with path.open("r+b") as file:
            boxes.carry(file, boxes.Movie({}, user_data), {}, frozenset())
    with source.open("rb") as file:
        found = boxes.movie(file)
    assert found.tags == {"title": "Ein Titel"}
    assert found.user_data.count(user_data[0]) == 1
    assert probe(source).tags["title"] == "Ein Titel"
    assert copy(source, tmp_path / "c.mkv", codec="libx264").differences == []
    with av.open(str(tmp_path / "c.mkv")) as container:
        assert container.metadata["title"] == "Ein Titel"
