"""Streams that only travel along: which containers hold them, and which one is named where one does not."""

import shutil
import subprocess
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import make_clip
from zero_change import copy

from deblurcli.media.probe import probe

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the program ffmpeg is not installed")


def covered(path: Path, sound: str = "") -> Path:
    """A clip with an attached font and a PNG as cover art, both attached files, and Opus sound if asked for."""
    image = cv2.imencode(".png", np.full((16, 16, 3), 90, np.uint8))[1].tobytes()
    inside = make_clip(path.with_name("inside.mkv"), codec="libx264", audio=sound or False)
    with av.open(str(inside)) as read, av.open(str(path), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in read.streams}
        out.add_attachment("cover.png", "image/png", image)
        out.add_attachment("f.ttf", "font/ttf", b"x")
        out.start_encoding()
        for packet in read.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    return path


def named(path: Path) -> list[str]:
    return [f"{other.kind} stream {other.index} ({other.codec})" for other in probe(path).others]


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("b.mov", ["audio stream 1 (opus)", "video stream 2 (png)", "attachment stream 3 (f.ttf)"]),
        ("b.mp4", ["attachment stream 3 (f.ttf)"]),
        ("b.webm", ["video stream 2 (png)", "attachment stream 3 (f.ttf)"]),
        ("b.ts", ["video stream 2 (png)", "attachment stream 3 (f.ttf)"]),
        ("b.mxf", ["audio stream 1 (opus)", "video stream 2 (png)", "attachment stream 3 (f.ttf)"]),
        ("b.mkv", []),
    ],
)
def test_one_container_is_named_that_holds_all_that_is_lost(tmp_path: Path, name: str, lost: list[str]) -> None:
    source = covered(tmp_path / "a.mkv", "libopus")
    writer = copy(source, tmp_path / name)
    muxer = {"b.ts": "mpegts"}.get(name, name[2:])
    wanted = [f"{stream} dropped: {muxer} cannot hold it; use .mkv, as the input" for stream in lost]
    assert [line for line in writer.foreseen if "stream" in line] == wanted
    assert [line for line in writer.differences if "stream" in line] == wanted


def test_the_container_of_the_input_comes_first(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mov", codec="libx264", audio="pcm_s16be", subtitles=True)
    told = copy(source, tmp_path / "b.webm").differences
    wanted = [f"{stream} dropped: webm cannot hold it; use .mov, as the input" for stream in named(source)]
    assert [line for line in told if "dropped" in line] == wanted and len(wanted) == 2


@needs_ffmpeg
def test_a_stream_that_only_pyav_refuses_is_not_said_to_be_none_of_the_container(tmp_path: Path) -> None:
    """Matroska holds PNG as Windows does (V_MS/VFW), which FFmpeg reads and PyAV does not write."""
    source, film = covered(tmp_path / "a.mkv"), tmp_path / "b.mkv"
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, "-map", "0:v", "-c", "copy", film], check=True)
    assert named(film) == ["video stream 1 (png)"]
    told = "video stream 1 (png) dropped: PyAV cannot write it into matroska; use .mov"
    assert told in copy(film, tmp_path / "c.mkv").differences
    assert not [line for line in copy(film, tmp_path / "c.mov").differences if "dropped" in line or "use" in line]
    assert [other.codec for other in probe(tmp_path / "c.mov").others] == ["png"]


def test_a_stream_that_begins_late_gets_a_container_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first packet is not among those that are looked at before the first frame."""
    monkeypatch.setattr("deblurcli.media.copied.MAX_PACKETS", 0)
    source = make_clip(tmp_path / "a.mkv", codec="libx264", subtitles=True)
    told = "subtitle stream 1 (subrip) dropped: mp4 cannot hold it; use .mkv, as the input"
    assert copy(source, tmp_path / "b.mp4").differences == [told]
