"""The judge itself: what it calls unannounced, tolerated or a false alarm. Needs none of the programs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.clients import exact, matrix, pictures
from tests.clients.boxes import inventory
from tests.clients.comparison import differences
from tests.clients.judge import Verdict, weighed
from tests.clients.kinds import BOX_KINDS, EXIFTOOL_VIDEO, KINDS, MEDIAINFO, Difference
from tests.clients.patches import PATCHES, box, find, insert
from tests.clients.product import Outcome

ROTATED = Difference("rotation", "video", "90", "none")
ROUNDED = Difference("times", "video", "0.0400 s", "0.0404 s", tolerated=True)
LOST = Difference("stream lost", "subtitle ass", "there", "gone")


def verdict(said: list[str], *found: Difference) -> Verdict:
    return weighed(Verdict("row", Outcome(3 if said else 0, said)), list(found))


@pytest.mark.parametrize(
    ("said", "found", "unannounced", "false_alarms"),
    [
        ([], [], 0, 0),
        ([], [ROTATED], 1, 0),
        (["rotation not kept by mp4: 90 became none"], [ROTATED], 0, 0),
        (["rotation not kept by mp4: 90 became none"], [], 0, 1),
        ([], [ROUNDED], 0, 0),
        (["times rounded to 1/1000 s by matroska"], [ROUNDED], 0, 0),
        (["audio stream 1 (aac) dropped"], [LOST], 1, 1),
        (["subtitle stream 2 (ass) dropped: mp4 cannot hold it"], [LOST], 0, 0),
        (["tags not kept by mp4: SHUTTER"], [Difference("tag", "shutter", "1/50", "none")], 0, 0),
        (["tags not kept by mp4: LENS"], [Difference("tag", "shutter", "1/50", "none")], 1, 1),
    ],
)
def test_announcements_are_held_against_differences(
    said: list[str], found: list[Difference], unannounced: int, false_alarms: int
) -> None:
    result = verdict(said, *found)
    assert (len(result.unannounced), len(result.false_alarms)) == (unannounced, false_alarms)
    assert result.right == (not unannounced and not false_alarms)


def file(**changed: object) -> dict[str, object]:
    """What is known of a file of three pictures."""
    video = {"index": 0, "codec_type": "video", "codec_name": "h264", "codec_tag_string": "avc1", "time_base": "1/1000"}
    video |= {"width": 96, "height": 64, "pix_fmt": "", "disposition": {"default": 1}, "r_frame_rate": "25/1"}
    video |= {name: value for name, value in changed.items() if name in ("disposition", "field_order", "tags")}
    starts = changed.get("starts", [0, 40, 80])
    assert isinstance(starts, list)
    last = changed.get("last", 40)
    packets = [{"stream_index": 0, "pts": at, "duration": 40 if at != starts[-1] else last} for at in starts]
    probe = {"streams": [video], "packets": packets, "format": {"tags": changed.get("file_tags", {})}, "chapters": []}
    return {"probe": probe, "frames": [{"pts": at} for at in starts], "sound": []}


@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        ({}, set()),
        ({"starts": [0, 40]}, {"frame count", "length"}),
        ({"starts": [0, 41, 80]}, set()),
        ({"starts": [0, 43, 80]}, {"times"}),
        ({"starts": [5, 45, 85]}, {"start"}),
        ({"last": 63}, {"length"}),
        ({"disposition": {"default": 0}}, set()),
        ({"disposition": {"default": 1, "forced": 1}}, {"disposition"}),
        ({"field_order": "tt"}, {"field order"}),
        ({"field_order": "progressive"}, set()),
        ({"tags": {"language": "deu"}}, {"language"}),
        ({"tags": {"language": "und", "encoder": "x"}}, set()),
        ({"file_tags": {"title": "T"}}, {"tag"}),
    ],
)
def test_properties_are_compared(changed: dict[str, object], kinds: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.clients.comparison.pixel_formats", dict)
    found = differences(file(), file(**changed), same_family=True)
    assert {difference.kind for difference in found if not difference.tolerated} == kinds


def test_tables_name_what_exists() -> None:
    for row in matrix.rows():
        assert set(row.clip.parts) <= matrix.PARTS.keys() and row.clip.codec in matrix.CODECS, row
    assert {row.clip.codec for row in exact.rows()} <= matrix.CODECS.keys()
    assert all(photo.tags in pictures.WRITTEN and photo.suffix in pictures.MAKERS for photo in pictures.rows())
    named = {kind for fields in MEDIAINFO.values() for kind in fields.values()}
    assert named | set(EXIFTOOL_VIDEO.values()) | set(BOX_KINDS.values()) | set(pictures.KINDS.values()) <= KINDS.keys()
    assert {part.patch for part in matrix.PARTS.values()} - {""} == PATCHES.keys()


def test_a_box_is_put_into_its_parents(tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    path.write_bytes(box(b"mdat", b"12") + box(b"moov", box(b"trak", box(b"tkhd", b""))) + box(b"free", b""))
    insert(path, [b"moov", b"trak"], box(b"uuid", b"xyz"))
    data = path.read_bytes()
    assert data[find(data, [b"moov", b"trak", b"uuid"])[-1] + 8 :][:3] == b"xyz" and data.endswith(box(b"free", b""))


def test_boxes_are_listed_by_track() -> None:
    dump = (
        '<TrackBox Size="8" Type="trak" >\n<UnknownBox Size="16" Type="amve" >\n</TrackBox>\n<X Size="8" Type="chpl" >'
    )
    assert inventory(dump) == {"movie": ["chpl"], "track 1": ["amve"]}


def test_the_profile_is_as_long_as_it_says() -> None:
    made = pictures.profile()
    assert Fraction(int.from_bytes(made[:4], "big")) == len(made) and made[36:40] == b"acsp"
