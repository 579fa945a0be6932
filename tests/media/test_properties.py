"""The table of properties: each row is kept where it can be, and missed when it is gone."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from clips import make_clip, packet_hashes
from mp4_extras import CLAP, captioned, extended
from zero_change import copy

from deblurcli.media.extent import Extent, measure, seconds
from deblurcli.media.probe import Chapter, StreamInfo, VideoInfo, probe
from deblurcli.media.properties import FILE, STREAM, VIDEO, lost

OTHER_VIDEO = {
    "size": {"width": 62},
    "depth": {"depth": 10},
    "sampling": {"subsampling": (0, 0)},
    "alpha": {"alpha": False},
    "rotation": {"display_matrix": None},
    "sample aspect ratio": {"sample_aspect_ratio": None},
    "field order": {"field_order": "progressive"},
    "chroma location": {"chroma_location": "center"},
    "Dolby Vision": {"extensions": {"clap": CLAP}},
    "sample description": {"extensions": {"dvvC": b""}},
    "codec tag": {"codec_tag": "hev1"},
    "name of the codec": {"fourcc": "FMP4"},
    "language": {"language": None},
    "video's tags": {"tags": {}},
    "video's roles": {"disposition": 0},
}


@pytest.fixture
def full(tmp_path: Path) -> VideoInfo:
    """A video that has every property."""
    video = probe(make_clip(tmp_path / "a.mp4", codec="libx264", colour=(1, 1, 1, 2))).video
    named = [row.name for row in VIDEO if row.cure is not None or row.name in ("spherical",)]
    return replace(
        video,
        alpha=True,
        display_matrix=(0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
        sample_aspect_ratio=Fraction(4, 3),
        field_order="tt",
        side_data={row.name: "x" for row in VIDEO if row.name in _side_names()} if named else {},
        codec_tag="hvc1",
        fourcc="XVID",
        language="deu",
        tags={"title": "t", "handler_name": "VideoHandler"},
        disposition=int(av.stream.Disposition.comment),
        extensions={"clap": CLAP, "dvvC": b""},
    )


def _side_names() -> set[str]:
    from deblurcli.media.side_data import SIDE_DATA

    return set(SIDE_DATA.values())


def test_nothing_is_missed_between_equals(full: VideoInfo) -> None:
    assert lost(VIDEO, full, full, "mov", "cure") == []


@pytest.mark.parametrize("row", [row.name for row in VIDEO])
def test_every_row_misses_what_is_gone(full: VideoInfo, row: str) -> None:
    if row.startswith("colour tag"):
        other = replace(full, colour=replace(full.colour, **{f"{row.split()[-1]}_tag": 9}))
    elif row in _side_names() - {"Dolby Vision"}:
        other = replace(full, side_data={name: text for name, text in full.side_data.items() if name != row})
    else:
        without = {name: text for name, text in full.side_data.items() if name != row}
        other = replace(full, **({"side_data": without} | OTHER_VIDEO[row]))
    lines = lost(VIDEO, full, other, "mov", "cure")
    assert [line for line in lines if line.startswith(f"{row} not kept by mov: ")], lines
    assert len(lines) == 1, lines


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"codec": "mp3"}, "codec of audio not kept by mp4: aac became mp3; cure"),
        ({"description": b"y"}, "sample description of audio not kept by mp4: it is another; cure"),
        ({"language": "eng"}, "language of audio not kept by mp4: fra became eng; cure"),
        ({"tags": {}}, "tags of audio not kept by mp4: title; cure"),
        ({"disposition": 0}, "roles of audio not kept by mp4: forced; cure"),
        ({"default": False}, "playing by default of audio not kept by mp4: yes became no; cure"),
    ],
)
def test_rows_of_streams(change: dict, line: str) -> None:
    stream = StreamInfo(1, "audio", "aac", "fre", title="t", disposition=64, tags={"title": "t"}, default=True)
    assert lost(STREAM, stream, replace(stream, **change), "mp4", "cure", " of audio") == [line]


def test_a_name_is_a_title_and_codes_of_one_language_are_one() -> None:
    stream = StreamInfo(1, "audio", "aac", "ger", tags={"title": "t"})
    assert lost(STREAM, stream, replace(stream, language="deu", tags={"name": "t"}), "mp4", "cure") == []


def test_chapters_are_compared_one_by_one(tmp_path: Path) -> None:
    info = probe(make_clip(tmp_path / "a.mkv", chapters=True))
    first, second = info.chapters
    moved = replace(info, chapters=(first, second._replace(start=second.start + Fraction(1, 10))))
    renamed = replace(info, chapters=(Chapter(first.start, first.end, "uno"), second))
    assert lost(FILE, info, info, "mp4", "") == []
    assert lost(FILE, info, moved, "mp4", "") == ["chapters not kept by mp4: 1 moved"]
    assert lost(FILE, info, renamed, "mp4", "") == ["chapters not kept by mp4: 1 renamed"]
    assert lost(FILE, info, replace(info, chapters=()), "mp4", "") == ["chapters not kept by mp4: 2 became 0"]


def test_extents() -> None:
    mine, theirs = Extent(), Extent()
    for number in range(10):
        mine.add(100, Fraction(number, 50), Fraction(1, 50))
        if number < 9:
            theirs.add(100, Fraction(number, 50) + Fraction(1, 10), Fraction(1, 50))
    lines = mine.lost(theirs, "audio", "aac", Fraction(1, 10), " of audio")
    assert lines == ["10 packets of audio became 9", "last packet of audio moved by -0.02 s"]
    assert mine.lost(mine, "audio", "aac", Fraction(0), " of audio") == []
    assert (seconds(Fraction(3010, 1000)), seconds(Fraction(80, 1000)), seconds(Fraction(3))) == (
        "3.01 s",
        "0.08 s",
        "3 s",
    )


def test_measuring_counts_the_packets_of_a_file(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mkv", codec="libx264", audio=True)
    found = measure(source, 0)
    assert list(found.times) == [40 * number for number in range(12)]
    assert found.extents[1].packets == len(packet_hashes(source, "audio"))


def test_what_a_video_says_of_its_pixels_is_carried_from_mp4_to_mp4(tmp_path: Path) -> None:
    source = extended(make_clip(tmp_path / "a.mp4", codec="libx264"), b"clap", CLAP)
    assert copy(source, tmp_path / "b.mp4").differences == []
    assert copy(source, tmp_path / "b.mov").differences == []
    assert probe(tmp_path / "b.mov").video.extensions["clap"] == CLAP
    assert copy(source, tmp_path / "b.mkv").differences == [
        "sample description not kept by matroska: clean aperture; use .mp4, as the input"
    ]


def test_captions_travel_with_their_frames(tmp_path: Path) -> None:
    """The shortest CEA-708 packets, as user data of H.264's pictures."""
    source = captioned(tmp_path / "a.mp4")
    assert "closed captions" in probe(source).video.side_data
    assert copy(source, tmp_path / "b.mp4").differences == []
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert all(frame.side_data.get("A53_CC") for frame in container.decode(video=0))
    lines = copy(source, tmp_path / "b.mkv", codec="ffv1").differences
    assert [line for line in lines if line.startswith("closed captions not kept") and "libx264" in line]
