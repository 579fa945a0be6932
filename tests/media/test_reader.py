"""What the reader does about damage and impossible times, and what it must not say of sound files."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from clips import cut_tail, make_clip
from fuzz import content, index_in_front

from deblurcli.errors import InputError
from deblurcli.media.account import Account, shown
from deblurcli.media.clock import Picture, Timeline
from deblurcli.media.frames import Frame
from deblurcli.media.reader import VideoReader

NOISY = {"noise": True, "frames": 30}
OPEN = {"x264-params": "open-gop=1:keyint=8:bframes=3"}
FIELDS = {"flags": "+ildct+ilme"}
SOUND = {
    "a.mp4": {"codec": "libx264", "audio": True, "subtitles": True},
    "open.mp4": {"codec": "libx264", "options": OPEN},
    "pieces.mp4": {"codec": "libx264", "options": {"g": "6"}},
    "a.mkv": {"codec": "libx264", "audio": True},
    "a.ts": {"codec": "libx264", "audio": True},
    "fields.ts": {"codec": "libx264", "options": FIELDS | {"x264-params": "interlaced=1"}},
    "a.flv": {"codec": "libx264"},
    "reordered.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "h264.avi": {"codec": "libx264"},
    "a.avi": {"codec": "mpeg4"},
    "hevc.mp4": {"codec": "libx265"},
    "a.webm": {"codec": "libvpx-vp9", "options": {"auto-alt-ref": "1", "lag-in-frames": "16"}},
    "vp8.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "100k"}},
    "a.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "places.avi": {"codec": "mpeg4", "pts": [0, 1, 4, 5, 6, 7, 11, 12, 13, 14, 15, 16]},  # some are empty
    "mjpeg.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "ffv1.mkv": {"codec": "ffv1"},
    "unsteady.mkv": {"codec": "libx264", "pts": [0, 3, 4, 5, 9, 10, 30, 31, 32, 33, 60, 61]},
}


def read(path: Path, **options: bool) -> tuple[list[Frame], list[str]]:
    with VideoReader(path, **options) as reader:
        frames = list(reader.frames())
    return frames, reader.damage.lines()


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_file_is_called_sound(tmp_path: Path, name: str) -> None:
    settings = {"crf": 24} if str(SOUND[name]["codec"]).startswith("libx26") else {}
    frames, said = read(make_clip(tmp_path / name, **{"frames": 12} | settings | SOUND[name]))  # type: ignore[arg-type]
    assert (len(frames), said) == (12, [])
    if "pts" not in SOUND[name]:
        steps = {round(float((b.pts - a.pts) * b.time_base), 3) for a, b in pairwise(frames)}
        assert steps == {0.04}


def test_sound_may_be_the_first_stream(tmp_path: Path) -> None:
    path, turned = make_clip(tmp_path / "a.mp4", codec="libx264", audio=True), tmp_path / "turned.mp4"
    with av.open(str(path)) as source, av.open(str(turned), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in reversed(source.streams)}
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    with VideoReader(turned, copied=True) as reader:
        assert reader.stream.index == 1
        frames = [item for item in reader.items() if isinstance(item, Frame)]
    assert not reader.damage.lines()
    expected = read(path)[0]
    assert len(frames) == len(expected)
    for one, other in zip(frames, expected, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


def test_a_sound_live_recording_is_called_sound(tmp_path: Path) -> None:
    """Browsers write WebM without sizes, length and index."""
    clip = make_clip(tmp_path / "a.webm", codec="libvpx", frames=12)
    with av.open(str(clip)) as given, av.open(str(tmp_path / "live.webm"), "w", options={"live": "1"}) as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    assert [len(part) for part in read(tmp_path / "live.webm")] == [12, 0]


def test_a_sound_mp4_in_fragments_is_called_sound(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", codec="libx264", frames=12, options={"g": "4"})
    flags = {"movflags": "frag_keyframe+empty_moov"}
    with av.open(str(clip)) as given, av.open(str(tmp_path / "f.mp4"), "w", container_options=flags) as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    assert [len(part) for part in read(tmp_path / "f.mp4")] == [12, 0]


def damage_packet(path: Path, number: int, to: Path) -> Path:
    """A copy in which a packet of the video holds noise."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packet = [p for p in container.demux(video=0) if p.size][number]
        at, size = data.find(bytes(packet)), packet.size
    data[at : at + size] = np.random.default_rng(1).integers(0, 255, size).astype(np.uint8).tobytes()
    to.write_bytes(data)
    return to


def test_a_lost_frame_is_the_one_before_again(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "a.mov", codec="png", pix_fmt="rgb24", **NOISY)  # type: ignore[arg-type]
    sound, _ = read(whole)
    found, said = read(damage_packet(whole, 10, tmp_path / "damaged.mov"))
    assert [(f.pts, f.duration) for f in found] == [(f.pts, f.duration) for f in sound]
    for number, (frame, other) in enumerate(zip(found, sound, strict=True)):
        expected = sound[9] if number == 10 else other
        assert all(np.array_equal(a, b) for a, b in zip(frame.planes, expected.planes, strict=True)), number
    assert said == ["1 frames did not decode; each repeats the one before it: at 0.40 s"]


@pytest.mark.parametrize("number", [0, 29])
def test_a_frame_lost_at_an_end(tmp_path: Path, number: int) -> None:
    whole = make_clip(tmp_path / "a.mov", codec="png", pix_fmt="rgb24", **NOISY)  # type: ignore[arg-type]
    found, said = read(damage_packet(whole, number, tmp_path / "damaged.mov"))
    assert [frame.pts for frame in found] == list(range(30)) and len(said) == 1
    near = 1 if number == 0 else 28
    assert all(np.array_equal(a, b) for a, b in zip(found[number].planes, found[near].planes, strict=True))


def test_a_frame_that_the_decoder_complains_of_is_kept_and_told(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "a.mkv", codec="ffv1", options={"level": "3", "slicecrc": "1"}, **NOISY)  # type: ignore[arg-type]
    with av.open(str(whole)) as container:
        packet = [p for p in container.demux(video=0) if p.size][20]
        data = bytearray(whole.read_bytes())
        data[data.find(bytes(packet)) + packet.size // 2] ^= 1
    (tmp_path / "b.mkv").write_bytes(data)
    found, said = read(tmp_path / "b.mkv")
    assert len(found) == 30 and len(said) == 1
    assert said[0].startswith("1 frames are damaged, the decoder says (") and said[0].endswith("at 0.80 s")


def test_the_last_packet_is_damaged(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "a.mp4", codec="libx264", crf=20, **NOISY)  # type: ignore[arg-type]
    found, said = read(damage_packet(whole, -1, tmp_path / "b.mp4"))
    assert len(found) == 30 and said


def test_a_file_cut_behind_its_index(tmp_path: Path) -> None:
    whole = index_in_front(make_clip(tmp_path / "a.mp4", codec="libx264", crf=20, **NOISY), tmp_path / "f.mp4")  # type: ignore[arg-type]
    found, said = read(cut_tail(whole, 0.5, tmp_path / "cut.mp4"))
    assert 10 < len(found) < 20
    assert said[0].startswith("the header promises 30 frames (1.20 s), the file holds ") and "it was cut" in said[0]
    assert found[-1].duration == found[0].duration, "the last frame is not stretched over what is missing"


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mov", codec="png", pix_fmt="rgb24", frames=60, size=(160, 120), noise=True)
    clip = index_in_front(clip, tmp_path / "f.mov")
    with VideoReader(clip) as reader:
        frames = reader.frames()
        next(frames)
        with clip.open("r+b") as file:
            file.truncate(clip.stat().st_size // 2)
        count = 1 + sum(1 for _ in frames)
    assert count < 60
    assert any("became shorter while it was read" in line for line in reader.damage.lines())


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".avi"])
def test_strict_refuses_what_is_damaged(tmp_path: Path, suffix: str) -> None:
    whole = make_clip(tmp_path / f"a{suffix}", codec="mpeg4" if suffix == ".avi" else "libx264", **NOISY)  # type: ignore[arg-type]
    assert len(read(whole, strict=True)[0]) == 30
    cut = cut_tail(whole, 0.613, tmp_path / f"cut{suffix}")
    assert read(cut)[1]
    with pytest.raises(InputError, match=r"cut.*; leave out --strict to restore it as it is"):
        read(cut, strict=True)


def test_two_recordings_joined(tmp_path: Path) -> None:
    """Each stream of the second one is moved by the same time, so that nothing overlaps."""
    part = make_clip(tmp_path / "part.ts", codec="libx264", crf=24, audio=True, frames=25)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(part.read_bytes() * 2)
    with VideoReader(part, copied=True) as reader:
        one = list(reader.items())
    with VideoReader(joined, copied=True) as reader:
        both = list(reader.items())
    frames = [item.pts for item in both if isinstance(item, Frame)]
    sound = [item.pts for item in both if isinstance(item, av.Packet)]
    assert len(frames) == 50 and frames == sorted(set(frames)) and sound == sorted(set(sound))
    moved = {frames[25 + n] - frames[n] for n in range(25)}
    half = len([item for item in one if isinstance(item, av.Packet)])
    assert len(moved) == 1 and moved == {sound[half + n] - sound[n] for n in range(half)}
    (line,) = reader.damage.lines()
    assert line.startswith("the clock restarts at ") and line.endswith(f"moved by +{moved.pop() / 90000:.2f} s")


def test_a_change_of_size_is_found_before_the_work(tmp_path: Path) -> None:
    parts = [make_clip(tmp_path / f"{w}.ts", codec="libx264", size=(w, 48), noise=True) for w in (64, 80)]
    (tmp_path / "joined.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    place = r"changes from 64x48 yuv420p to 80x48 yuv420p at 0\.48 s; cut it in two there first"
    with pytest.raises(InputError, match=place):
        VideoReader(tmp_path / "joined.ts")


def test_alpha_of_webm_is_read(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.webm", codec="libvpx-vp9", pix_fmt="yuva420p", frames=3, options={"lossless": "1"})
    found, said = read(clip)
    assert found[0].layout.alpha and len(found[0].planes) == 4 and not said
    assert len(np.unique(found[0].planes[3])) > 20, "the alpha is a gradient"


def placed(times: list[int | None], **options: bool) -> tuple[list[int | None], int]:
    line = Timeline(40, 0, options.get("sparse", False))
    frame = av.VideoFrame(16, 16)
    return [p.time for p in line.set(Picture(frame, time) for time in times) if isinstance(p, Picture)], line.nudged


@pytest.mark.parametrize(
    ("times", "expected", "nudged"),
    [
        ([None, None, None, 20, 60], [-100, -60, -20, 20, 60], 3),
        ([0, None, None, 300], [0, 100, 200, 300], 2),
        ([0, 40, None, None], [0, 40, 80, 120], 2),
        ([None, None], [0, 40], 2),
        ([0, 40, 40, 30, 120], [0, 40, 41, 42, 120], 2),
    ],
)
def test_times_that_are_missing_or_repeated(times: list[int | None], expected: list[int], nudged: int) -> None:
    assert placed(times) == (expected, nudged)


def test_containers_that_leave_times_out_are_not_blamed() -> None:
    assert placed([0, None, 80, 80, 160], sparse=True) == ([0, 40, 80, 120, 160], 0)


def packet_of(pts: int, data: bytes = b"\x00\x01") -> av.Packet:
    packet = av.Packet(data)
    packet.pts = packet.dts = pts
    return packet


@pytest.mark.parametrize("interlaced", [True, False])
def test_a_second_field_is_no_lost_frame(tmp_path: Path, interlaced: bool) -> None:
    """Each field of an H.264 picture may have a packet of its own, and the picture is from the first one."""
    options = FIELDS | {"x264-params": "interlaced=1"} if interlaced else {}
    clip = make_clip(tmp_path / "a.ts", codec="libx264", crf=24, options=options)
    with av.open(str(clip)) as container:
        pictures = list(container.decode(video=0))[:3]
    assert all(bool(picture.interlaced_frame) == interlaced for picture in pictures)
    account, found = Account("h264", Fraction(1, 1000), slots=False, reckoned=False), []
    for number, picture in enumerate(pictures):
        first, second = packet_of(40 * number), packet_of(40 * number + 20)
        account.enter(first)
        account.enter(second)
        picture.pts, picture.opaque = first.pts, first.opaque
        found += account.leave(picture, reordered=False)
    found += account.close()
    lost = [picture.time for picture in found if picture.frame is None]
    assert lost == ([] if interlaced else [20, 60, 100])


def test_pictures_that_never_come_are_lost() -> None:
    account = Account("h264", Fraction(1, 1000), slots=False, reckoned=False)
    for pts in (0, 20, 40):
        account.enter(packet_of(pts))
    assert [p.time for p in account.close()] == [0, 20, 40]


def test_hidden_pictures_of_vp8_and_vp9() -> None:
    assert shown("vp8", packet_of(0, b"\x10")) and not shown("vp8", packet_of(0, b"\x00"))
    assert shown("vp9", packet_of(0, b"\x82\x00")) and not shown("vp9", packet_of(0, b"\x80\x00"))
    assert shown("vp9", packet_of(0, b"\x88\x00")) and shown("vp9", packet_of(0, b"\x80\xc0"))


def test_content_is_read_alike_twice(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", codec="libx264", crf=24, audio=True)
    assert content(clip) == content(clip)
