"""Parts of videos: the frames, packets and chapters between two times, from the first frame of the part on."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make_clip, read_planes, read_times
from end_to_end import deblur, small_network
from interrupted import killed, short_segments

from deblurcli.errors import UsageError
from deblurcli.media.excerpt import Excerpt, chapters_within
from deblurcli.media.probe import Chapter, probe
from deblurcli.media.reader import VideoReader
from deblurcli.options.times import seconds_of
from deblurcli.options.video import VideoOptions


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that changes nothing."""
    return small_network(tmp_path_factory.mktemp("weights") / "w.safetensors")


def clip(path: Path, seconds: int = 3, **more: object) -> Path:
    """25 frames a second with a keyframe every 10, and sound."""
    settings: dict[str, object] = {"codec": "libx264", "audio": True, "options": {"g": "10", "keyint_min": "10"}}
    return make_clip(path, frames=25 * seconds, **settings | more)  # type: ignore[arg-type]


def part(path: Path, start: str, duration: str | None) -> tuple[list[np.ndarray], list[Fraction]]:
    """The luma of the frames of a part, and their times."""
    asked = Excerpt(seconds_of(start) or Fraction(0), None if duration is None else seconds_of(duration))
    with VideoReader(path, excerpt=asked) as reader:
        frames = list(reader.frames())
    return [frame.planes[0] for frame in frames], [frame.pts * frame.time_base for frame in frames]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3.5s", 3.5), ("3.5", 3.5), ("1:02", 62), ("1:02:03.5", 3723.5), ("0", 0), (".5", 0.5), ("90s", 90)],
)
def test_times(text: str, seconds: float) -> None:
    assert seconds_of(text) == Fraction(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1", "1:2:3:4", "1m", "1e3", "nan", "1,5"])
def test_what_is_no_time(text: str) -> None:
    assert seconds_of(text) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"start": "-1"}, "--start -1 is negative; give 0 or more"),
        ({"duration": "-1:00"}, "--duration -1:00 is negative; give more than 0"),
        ({"duration": "0"}, "--duration 0 is no time at all; give more than 0"),
        ({"start": "soon"}, "--start soon is not a time; give seconds, such as 3.5, or minutes, such as 1:02"),
    ],
)
def test_what_is_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        VideoOptions(**given)
    assert str(refused.value) == said


def test_numbers_are_times_in_python() -> None:
    assert VideoOptions(start=2.5, duration=1).start == "2.5"  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.mov"])
@pytest.mark.parametrize(("start", "duration"), [("0", "0.5"), ("1.21", "0.4"), ("5.62", None), ("5", "99")])
def test_the_frames_of_a_part_are_those_of_the_whole(
    tmp_path: Path, name: str, start: str, duration: str | None
) -> None:
    """Six seconds, so that reading begins at a keyframe on the way where the container knows where they are."""
    path = clip(tmp_path / name, 6, size=(32, 32), codec="mpeg4" if name == "a.avi" else "libx264")
    with VideoReader(path) as reader:
        whole = list(reader.frames())
        video = reader.info.video
        assert not reader.damage.lines()
    origin, begin = video.start * video.time_base, float(start)
    end = 1e9 if duration is None else begin + float(duration)
    wanted = [frame for frame in whole if begin <= float(frame.pts * frame.time_base - origin) < end]
    planes, times = part(path, start, duration)
    assert times == [frame.pts * frame.time_base for frame in wanted] and len(wanted) > 8
    assert all(np.array_equal(one, frame.planes[0]) for one, frame in zip(planes, wanted, strict=True))


def test_chapters_are_cut_to_the_part() -> None:
    chapters = (
        Chapter(Fraction(0), Fraction(2), "a"),
        Chapter(Fraction(2), Fraction(5), "b"),
        Chapter(Fraction(5), Fraction(9), "c"),
    )
    assert chapters_within(chapters, Fraction(3), Fraction(6)) == (
        Chapter(Fraction(0), Fraction(2), "b"),
        Chapter(Fraction(2), Fraction(3), "c"),
    )


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_an_output_is_the_part_and_nothing_differs(
    tmp_path: Path, network: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = clip(tmp_path / f"in{name[3:]}", chapters=True, subtitles=True, size=(32, 32), tags={"title": "a"})
    out = tmp_path / name
    words = ("--start", "0.3", "--duration", "0:01.2", "--method", "none", "--network", network, "--log", "json")
    assert deblur("video", path, "-o", out, *words) == 0, capfd.readouterr().err
    events = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    summary = next(event for event in events if event["type"] == "summary")
    assert summary["frames"] == 30 and summary["differences"] == []
    assert summary["excerpt"] == {"start": 0.3, "duration": 1.2}
    assert any(
        "only 1.2 s from 0.3 s on; the other streams are cut to it" in event.get("message", "") for event in events
    )
    times = read_times(out)
    assert times[0] == 0 and len(times) == 30
    found = probe(out)
    assert [chapter.title for chapter in found.chapters] == ["two ü"]
    with av.open(str(out)) as container:
        sound = [float(p.pts * p.time_base) for p in container.demux(audio=0) if p.size]
    assert 0 <= sound[0] < 0.03 and 1.15 < sound[-1] < 1.2


def test_a_start_behind_the_end_is_refused_in_one_line(
    tmp_path: Path, network: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, out = clip(tmp_path / "in.mp4", 1), tmp_path / "out.mp4"
    assert deblur("video", path, "-o", out, "--start", "1:00", "--method", "none", "--network", network) == 2
    said = "deblur: --start 60 is behind the end of in.mp4, which lasts 1.00 s; give an earlier time\n"
    assert capfd.readouterr().err == said
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.mp4"]


def test_an_interrupted_part_goes_on_and_another_part_is_refused(
    tmp_path: Path, network: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, out, whole = clip(tmp_path / "in.mkv", codec="ffv1", audio=False), tmp_path / "o.mkv", tmp_path / "w.mkv"
    plain = ("--method", "none", "--network", network, "--tile", "off", "-q", "--codec", "ffv1")
    words = ("video", path, "-o", out, *plain, "--start", "1", "--duration", "1.5")
    assert killed(*words, stage="encoding", number=14)
    with short_segments():
        assert deblur(*words[:-1], "2") == 2
        assert "--duration 1.5, now 2" in capfd.readouterr().err
        assert deblur(*words) == 0
        assert deblur("video", path, "-o", whole, "--start", "1", "--duration", "1.5", *plain) == 0
    planes = read_planes(out)
    assert np.array_equal(planes, read_planes(whole)) and read_times(out) == read_times(whole)
    assert len(read_times(out)) == 38


def test_the_method_adapts_to_the_part_and_the_comparison_shows_it(tmp_path: Path, network: Path) -> None:
    path, out = clip(tmp_path / "in.mkv", 2, size=(96, 96)), tmp_path / "o.mkv"
    page, report = tmp_path / "o.html", tmp_path / "r.jsonl"
    words = ("--steps", "1", "--patches", "2", "--patch-size", "64", "--guard", "off", "--network", network)
    part = ("--start", "1", "--duration", "0.4", "--compare", page, "--report", report)
    assert deblur("video", path, "-o", out, *part, *words) == 0
    record = json.loads(report.read_text())
    assert record["frames"] == 10 and record["adaptations"][0]["frames"] == 10
    assert page.stat().st_size > 10_000


def long_shown(path: Path) -> Path:
    """A second of video at 25 frames a second; beside it subtitles, data and in ``.mkv`` a second video, whose packets
    at 0.1 s and 0.32 s are to be shown for a minute."""
    inside, clock = make_clip(path.with_name(f"video{path.suffix}"), codec="libx264", frames=20), Fraction(1, 1000)
    matroska = path.suffix == ".mkv"
    with av.open(str(inside)) as read, av.open(str(path), "w") as out:
        video = out.add_stream_from_template(read.streams.video[0])
        others = [out.add_mux_stream("subrip" if matroska else "mov_text")]
        others.append(
            out.add_stream_from_template(read.streams.video[0]) if matroska else out.add_data_stream("bin_data")
        )
        for stream in others:
            stream.time_base = clock
        out.start_encoding()
        packets = [packet for packet in read.demux(video=0) if packet.size]
        for at in (100, 320):
            for stream in others:
                said = b"hello" if matroska else b"\0\5hello"
                packet = av.Packet(said if stream.type != "video" else bytes(packets[0]))
                packet.pts = packet.dts = at
                packet.duration, packet.time_base, packet.stream, packet.is_keyframe = 60_000, clock, stream, True
                out.mux(packet)
        for packet in packets:
            packet.stream = video
            out.mux(packet)
    return path


@pytest.mark.parametrize("name", ["in.mkv", "in.mp4"])
def test_nothing_is_shown_longer_than_the_part(
    tmp_path: Path, network: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What began before, is shown from its first frame on if it is a subtitle; all of it ends with the part."""
    path, out = long_shown(tmp_path / name), tmp_path / f"out.{name[3:]}"
    words = ("--start", "0.2", "--duration", "0.2", "--method", "none", "--network", network)
    assert deblur("video", path, "-o", out, *words) == 0, capfd.readouterr().err
    assert float(probe(out).duration or 0) == pytest.approx(0.2, abs=0.002)
    with av.open(str(out)) as container:
        shown = {stream.index: (stream.type, []) for stream in container.streams}
        for packet in container.demux():
            if packet.size > 2:
                times = (float(packet.pts * packet.time_base), float((packet.duration or 0) * packet.time_base))
                shown[packet.stream_index][1].append(times)
    others = {kind: times for index, (kind, times) in shown.items() if index}
    near = pytest.approx
    if name == "in.mkv":  # texts may overlap
        assert others["subtitle"] == [near((0, 0.2), abs=0.002), near((0.12, 0.08), abs=0.002)]
        assert others["video"] == [near((0.12, 0.08), abs=0.002)]
    else:
        assert others["subtitle"] == [near((0, 0.12), abs=0.002), near((0.12, 0.08), abs=0.002)]
        assert others["data"] == [near((0.12, 0.08), abs=0.002)]


def test_the_last_frame_of_a_part_lasts_no_longer_than_the_part(tmp_path: Path) -> None:
    """Of a clip whose rate varies, and whose last frame lasts for seconds."""
    path = make_clip(tmp_path / "in.mkv", codec="ffv1", frames=6, time_base=Fraction(1, 1000), rate=25,
                     pts=[0, 40, 80, 120, 160, 5000])  # fmt: skip
    with VideoReader(path, excerpt=Excerpt(Fraction(8, 100), Fraction(12, 100))) as reader:
        frames = list(reader.frames())
    assert [(frame.pts, frame.duration) for frame in frames] == [(80, 40), (120, 40), (160, 40)]


@pytest.mark.parametrize(("start", "duration"), [("0:00.6", "100"), ("0.6", None)])
def test_the_length_that_is_told_is_that_of_the_part(
    tmp_path: Path, network: Path, start: str, duration: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    path = clip(tmp_path / "in.mp4", 1, audio=False)
    asked = ("--start", start, *(() if duration is None else ("--duration", duration)))
    words = ("video", path, "-o", tmp_path / "o.mp4", *asked, "--method", "none", "--network", network)
    assert deblur(*words, "--dry-run") == 0
    assert "0.4 s from 0.6 s on" in capfd.readouterr().out
    assert deblur(*words) == 0
    assert "only 0.4 s from 0.6 s on" in capfd.readouterr().err
