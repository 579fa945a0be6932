"""Which field is shown first, where only the pictures tell."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from clips import make_clip

from deblurcli.media.fields import FieldMarks, first_field
from deblurcli.media.probe import probe
from deblurcli.media.reader import VideoReader
from deblurcli.media.writer import VideoWriter


@pytest.mark.parametrize(("mark", "order"), [("tff", "tt"), ("bff", "bb")])
def test_the_mark_of_a_frame_is_read(mark: str, order: str) -> None:
    frame = FieldMarks(mark)(av.VideoFrame(64, 48, "yuv420p"))
    assert (frame.interlaced_frame, first_field(frame)) == (True, order)


def test_dv_keeps_its_bottom_field_first(tmp_path: Path) -> None:
    """AVI says nothing of fields, DV says it in every picture."""
    source = make_clip(tmp_path / "in.avi", codec="dvvideo", size=(720, 576), frames=3)
    assert probe(source).video.field_order == "bb"
    with VideoReader(source) as reader, VideoWriter(reader, tmp_path / "out.avi") as writer:
        for frame in reader.frames():
            writer.write(frame)
    assert [line for line in writer.differences if "field" in line] == []
    with av.open(str(tmp_path / "out.avi")) as written:
        assert {first_field(frame) for frame in written.decode(video=0)} == {"bb"}
