"""What FFmpeg passes over in silence: damage of containers that takes whole frames, packets or streams away."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import av
import numpy as np
import pytest
from clips import MUXERS, make_clip
from fuzz import content, index_in_front, laid_out

from deblurcli.media.structure import transport

MUXERS.setdefault(".mpg", "mpeg")
AUDIO = {"audio": True, "crf": 24, "codec": "libx264", "frames": 24, "options": {"g": "8"}}
MP2 = {"audio": "mp2", "codec": "mpeg4", "frames": 24}
PACKET = 188


def packets(path: Path) -> list[bytearray]:
    data = path.read_bytes()
    return [bytearray(data[at : at + PACKET]) for at in range(0, len(data), PACKET)]


def pid(packet: bytes) -> int:
    return (packet[1] & 0x1F) << 8 | packet[2]


def whole_frames(parts: list[bytearray]) -> list[int]:
    """Packets of the video that hold a whole frame each: the next one begins with another."""
    own = [n for n, packet in enumerate(parts) if pid(packet) == 0x100]
    return [n for n, after in zip(own, [*own[1:], -1], strict=True) if parts[n][1] & parts[after][1] & 0x40]


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("ts") / "a.ts", **AUDIO)  # type: ignore[arg-type]


def joined(parts: list[bytearray], to: Path) -> Path:
    to.write_bytes(b"".join(parts))
    return to


def breaks(path: Path, *numbers: int) -> dict[int, int]:
    return transport.look(path, numbers or (0x100, 0x101), numbers or (0x100, 0x101), False).breaks


def test_a_packet_of_another_number(stream: Path, tmp_path: Path) -> None:
    parts = packets(stream)
    number = whole_frames(parts)[2]
    parts[number][1] ^= 0x02
    said = content(joined(parts, tmp_path / "b.ts")).said
    assert "the packets of stream 0 do not follow on one another in one place: some are missing" in said


@pytest.mark.parametrize("at", [4, 5])
def test_a_header_that_is_none(stream: Path, tmp_path: Path, at: int) -> None:
    """The last packet has no other behind it whose counter would tell."""
    parts = packets(stream)
    number = [n for n in whole_frames(parts) if parts[n][3] & 0x20][-1]
    begin = 5 + parts[number][4]
    if at == 4:
        parts[number][4] = 183  # longer than the packet: nothing is left for the frame
    else:
        parts[number][begin + 6 : begin + 14] = bytes(8)
    assert any("do not follow on" in line for line in content(joined(parts, tmp_path / "b.ts")).said)


def test_what_a_transport_stream_may_do(stream: Path, tmp_path: Path) -> None:
    """Packets sent twice, empty ones, breaks that are announced, and longer packets."""
    parts = packets(stream)
    assert breaks(stream) == {}
    number = next(n for n, p in enumerate(parts) if pid(p) == 0x100 and n > 20)
    empty = bytearray(b"\x47\x1f\xff\x10" + bytes(184))
    assert breaks(joined([*parts[:number], parts[number - 1], empty, *parts[number:]], tmp_path / "twice.ts")) == {}
    assert breaks(joined(parts[:number] + parts[number + 1 :], tmp_path / "lost.ts")) == {0x100: 1}
    for length, before, behind in ((192, 4, 0), (204, 0, 16)):
        longer = [bytearray(before) + part + bytearray(behind) for part in parts]
        assert {len(part) for part in longer} == {length}
        assert breaks(joined(longer, tmp_path / "long.m2ts")) == {}
        assert breaks(joined(longer[:number] + longer[number + 1 :], tmp_path / "long.m2ts")) == {0x100: 1}
    announced = [bytearray(part) for part in parts]
    later = next(n for n, p in enumerate(parts) if n > number and pid(p) == 0x100 and p[3] & 0x20 and p[4])
    announced[later][5] |= 0x80
    lost = [n for n in range(len(parts)) if number <= n < later and pid(parts[n]) == 0x100]
    kept = [part for n, part in enumerate(announced) if n not in lost]
    assert breaks(joined(kept, tmp_path / "announced.ts"), 0x100) == {}


def test_blocks_do_not_matter(stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = packets(stream)
    number = next(n for n, p in enumerate(parts) if pid(p) == 0x100 and n > 20)
    path = joined([*parts[:number], *parts[number + 1 : -5], bytearray(b"out of step"), *parts[-5:]], tmp_path / "b.ts")
    expected = transport.look(path, [0x100, 0x101], [0x100, 0x101], False)
    assert expected.breaks[0x100] == 1
    monkeypatch.setattr(transport, "BLOCK", 4)
    assert transport.look(path, [0x100, 0x101], [0x100, 0x101], False) == expected


def test_an_end_that_is_wiped(stream: Path, tmp_path: Path) -> None:
    """Nothing is behind it whose counter would tell."""
    data = stream.read_bytes()
    at = len(data) - 5 * PACKET + 1
    (tmp_path / "b.ts").write_bytes(data[:at] + bytes(len(data) - at))
    assert any("where packets should be there are none" in line for line in content(tmp_path / "b.ts").said)


def test_segments_put_together_are_sound(tmp_path: Path) -> None:
    """As HLS is saved: the times go on, all counters begin anew."""
    clip = make_clip(tmp_path / "a.mp4", **AUDIO)  # type: ignore[arg-type]
    with av.open(str(clip)) as given:
        found = [p for p in given.demux() if p.size]
        found.sort(key=lambda p: p.dts * p.time_base)
        for packet in found:  # no time may be before zero: it would be moved, and by itself
            ticks = round(1 / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
        number, groups = -1, []
        for packet in found:
            number += packet.stream.type == "video" and packet.is_keyframe
            groups.append((max(number, 0), packet))
        data = b""
        for part, members in groupby(groups, key=lambda group: group[0]):
            path = tmp_path / f"{part}.ts"
            with av.open(str(path), "w", format="mpegts") as out:
                streams = {s.index: out.add_stream_from_template(s) for s in given.streams}
                for _, packet in members:
                    packet.stream = streams[packet.stream_index]
                    out.mux(packet)
            data += path.read_bytes()
    (tmp_path / "all.ts").write_bytes(data)
    read = content(tmp_path / "all.ts")
    assert (len(read.frames), read.said) == (24, ())
    cut = packets(tmp_path / "all.ts")
    del cut[next(n for n in range(30, len(cut)) if pid(cut[n]) == 0x100 and not cut[n][1] & 0x40)]
    assert content(joined(cut, tmp_path / "cut.ts")).said


def test_a_recording_that_begins_in_the_middle_is_sound(tmp_path: Path) -> None:
    options = {"codec": "mpeg2video", "frames": 24, "options": {"g": "1"}, "noise": True}
    parts = packets(make_clip(tmp_path / "a.ts", **options))  # type: ignore[arg-type]
    own = [n for n, p in enumerate(parts) if pid(p) == 0x100 and not p[1] & 0x40]
    read = content(joined(parts[own[len(own) // 3] :], tmp_path / "b.ts"))
    assert 8 < len(read.frames) < 24 and read.said == ()


def patched(data: bytes, name: bytes, number: int, at: int, new: bytes) -> bytes:
    """Bytes exchanged ``at`` so many behind the begin of the name of a box, its ``number``-th."""
    place = -1
    for _ in range(number + 1):
        place = data.index(name, place + 1)
    return data[: place + at] + new + data[place + at + len(new) :]


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mp4")
    return index_in_front(make_clip(folder / "a.mp4", **AUDIO), folder / "front.mp4")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("box", "number", "at", "new", "said"),
    [
        (b"stsz", 1, 0, b"svsz", "track 2 is damaged: stsz is missing"),
        (b"trak", 1, 0, b"\xf4rak", "a track that is not marked as one"),
        (b"hdlr", 1, 0, b"\0\0\0\0", "track 2 is damaged: hdlr is missing"),
        (b"stsz", 1, 20, b"\x40", "track 2 is damaged: its samples are larger than the file"),
        (b"stsz", 1, 12, b"\0\0\0\x09", "track 2 is damaged: it gives times to"),
        (b"stts", 1, 17, b"\2", "track 2 is damaged: its samples last longer"),
        (b"stsc", 0, 20, b"\1", "track 1 is damaged: samples refer to a description that is not there"),
        (b"ctts", 0, 32, b"\x40", "track 1 is damaged: a picture would be shown long"),
        (b"elst", 1, 16, b"\0\1", "track 2 is damaged: an edit begins behind its end"),
        (b"elst", 0, 12, b"\0\0\1\0", "track 1 is damaged: its edits are shorter"),
    ],
)
def test_a_damaged_index(movie: Path, tmp_path: Path, box: bytes, number: int, at: int, new: bytes, said: str) -> None:
    assert content(movie).said == ()
    (tmp_path / "b.mp4").write_bytes(patched(movie.read_bytes(), box, number, at, new))
    found = content(tmp_path / "b.mp4")
    assert any(said in line for line in found.said), found.said


def test_an_index_that_is_cut(tmp_path: Path) -> None:
    """FFmpeg reads what is there; the last track is not."""
    data = make_clip(tmp_path / "a.mp4", **AUDIO).read_bytes()  # type: ignore[arg-type]
    (tmp_path / "b.mp4").write_bytes(data[: data.rindex(b"udta")])
    assert content(tmp_path / "b.mp4").said == ("the file ends in the middle of its moov: it was cut",)


def test_frames_that_an_edit_hides_are_not_missing(movie: Path, tmp_path: Path) -> None:
    to = tmp_path / "trimmed.mp4"
    with av.open(str(movie)) as given, av.open(str(to), "w", options={"use_editlist": "1"}) as out:
        streams = {s.index: out.add_stream_from_template(s) for s in given.streams}
        for packet in given.demux():
            if packet.size:
                ticks = round(0.4 / packet.time_base)
                packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    read = content(to)
    assert len(read.frames) == 14 and read.said == ()


@pytest.mark.parametrize("change", [bytes(8), b"\xd2\xde\x95\x11" * 2, None])
def test_fragments_are_found_one_behind_the_other(movie: Path, tmp_path: Path, change: bytes | None) -> None:
    whole = laid_out(movie, tmp_path / "f.mp4", "frag_keyframe+empty_moov")
    assert (len(content(whole).frames), content(whole).said) == (24, ())
    data = whole.read_bytes()
    at = data.index(b"moof", data.index(b"moof") + 4) - 4
    data = data[:at] + (data[at : at + 4] + b"mgof" if change is None else change) + data[at + 8 :]
    (tmp_path / "b.mp4").write_bytes(data)
    read = content(tmp_path / "b.mp4")
    assert len(read.frames) < 24 and read.said


def test_tags_of_flv(tmp_path: Path) -> None:
    """FFmpeg goes on at the next tag that it finds."""
    clip = make_clip(tmp_path / "a.flv", **AUDIO)  # type: ignore[arg-type]
    assert (len(content(clip).frames), content(clip).said) == (24, ())
    data = clip.read_bytes()
    middle = len(data) // 2
    for changed, said in (
        (data[:middle] + data[middle + 700 :], "the container is damaged: "),
        (data[:middle] + bytes(1500) + data[middle + 1500 :], "the container is damaged: "),
        (data[:-30], "it was cut"),
    ):
        (tmp_path / "b.flv").write_bytes(changed)
        assert any(said in line for line in content(tmp_path / "b.flv").said)


def test_chunks_of_avi(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "a.avi", **MP2)  # type: ignore[arg-type]
    data = whole.read_bytes()
    assert content(whole).said == ()
    second = data.index(b"strl", data.index(b"strl") + 1) - 8
    streams = data[:second] + bytes(16) + data[second + 16 :]
    sixth = data.index(b"01wb", data.index(b"movi") + 4000)
    entry = data.index(b"01wb", data.index(b"idx1") + 100)
    for changed, said in (
        (streams, "the header promises 2 streams, 1 can be read"),
        (patched(data[sixth:], b"01wb", 0, 0, b"\x10"), "a chunk of no known kind"),
        (data[:entry] + b"01wb"[:3] + b"\0" + data[entry + 4 :], "packets of stream 1"),
    ):
        changed = data[:sixth] + changed if len(changed) < len(data) else changed
        (tmp_path / "b.avi").write_bytes(changed)
        read = content(tmp_path / "b.avi")
        assert any(said in line for line in read.said) or read == content(whole), (said, read.said)


def test_frames_of_avi_that_stay_as_they_are(tmp_path: Path) -> None:
    """They have an empty chunk, or none; the header counts them."""
    times = [n + 7 * (n > 5) for n in range(12)]
    clip = make_clip(tmp_path / "a.avi", codec="mpeg4", pts=times)
    data = clip.read_bytes()
    assert data[data.index(b"movi") : data.index(b"idx1")].count(b"00dc\0\0\0\0") == 7, "this is what it is about"
    read = content(clip)
    assert (len(read.frames), read.said) == (12, ())


class Pipe:
    """A file that only goes on."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


@pytest.mark.parametrize(("suffix", "muxer"), [(".avi", "avi"), (".mkv", "matroska"), (".ts", "mpegts")])
def test_what_was_written_into_a_pipe_is_sound(tmp_path: Path, suffix: str, muxer: str) -> None:
    """The counts and lengths of the header stay open."""
    clip, pipe = make_clip(tmp_path / f"a{suffix}", **MP2), Pipe()  # type: ignore[arg-type]
    with av.open(str(clip)) as given, av.open(pipe, "w", format=muxer) as out:
        streams = {s.index: out.add_stream_from_template(s) for s in given.streams}
        for packet in given.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    (tmp_path / f"pipe{suffix}").write_bytes(pipe.data)
    read = content(tmp_path / f"pipe{suffix}")
    assert (len(read.frames), read.said) == (24, ())


@pytest.mark.parametrize("options", [{}, {"cues_to_front": "1"}, {"live": "1"}, {"cluster_time_limit": "100"}])
def test_matroska_laid_out_otherwise_is_sound(tmp_path: Path, options: dict[str, str]) -> None:
    clip = make_clip(tmp_path / "a.mkv", **AUDIO, cover=True, chapters=True, subtitles=True)  # type: ignore[arg-type]
    with av.open(str(clip)) as given, av.open(str(tmp_path / "b.mkv"), "w", container_options=options) as out:
        streams = {s.index: out.add_stream_from_template(s) for s in given.streams if s.type in ("video", "audio")}
        for packet in given.demux():
            if packet.size and packet.stream_index in streams:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    for path in (clip, tmp_path / "b.mkv"):
        read = content(path)
        assert (len(read.frames), read.said) == (24, ())


def other_track(data: bytes) -> bytes:
    """The second track is of a type that there is not."""
    return patched(data, b"\x83\x81\x02", 0, 0, b"\xc3")


def another_number(data: bytes) -> bytes:
    """The second track is numbered 3, and blocks say 2."""
    return patched(data, b"\xd7\x81\x02", 0, 2, b"\x03")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_track, "the header lists 2 tracks, 1 can be read"),
        (another_number, "belongs to no track"),
        (lambda data: data[:-1], "in the middle of an element: it was cut"),
        (lambda data: data.replace(b"\x1f\x43\xb6\x75", b"\x1f\x43\xb6\x74", 1), "of no known kind"),
    ],
)
def test_damaged_matroska(tmp_path: Path, change: Callable[[bytes], bytes], said: str) -> None:
    clip = make_clip(tmp_path / "a.mkv", **AUDIO)  # type: ignore[arg-type]
    clip.write_bytes(change(clip.read_bytes()))
    assert any(said in line for line in content(clip).said), content(clip).said


@pytest.mark.parametrize("lost", [(11, 12), (14, 15)])
@pytest.mark.parametrize("suffix", [".mpg", ".mkv"])
def test_pictures_of_mpeg2_are_counted(tmp_path: Path, suffix: str, lost: tuple[int, int]) -> None:
    clip = make_clip(tmp_path / f"a{suffix}", codec="mpeg2video", frames=24, options={"bf": "2", "g": "8"})
    assert content(clip).said == ()
    with av.open(str(clip)) as given, av.open(str(tmp_path / f"b{suffix}"), "w", format=MUXERS[suffix]) as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(p for p in given.demux(video=0) if p.size):
            if number not in lost:
                packet.stream = stream
                out.mux(packet)
    assert "by their numbers and times, 2 pictures of the video are missing" in content(tmp_path / f"b{suffix}").said


def test_a_copied_packet_whose_time_repeats(tmp_path: Path) -> None:
    """It is moved by a tick and told, and the output plays."""
    clip = make_clip(tmp_path / "a.mkv", **AUDIO)  # type: ignore[arg-type]
    data = bytearray(clip.read_bytes())
    clusters = [at for at in range(len(data) - 4) if data[at : at + 4] == b"\x1f\x43\xb6\x75"]
    blocks = [at for at in range(clusters[0], len(data) - 8) if data[at + 3 : at + 4] == b"\x82" and data[at] == 0xA3]
    first, second = blocks[3:5]
    data[second + 4 : second + 6] = data[first + 4 : first + 6]
    clip.write_bytes(data)
    read = content(clip, tmp_path / "out.mkv")
    assert read.said == (
        "1 packets of stream 1 had no time, or one that repeats or steps back; they were moved by a tick",
    )
    with av.open(str(tmp_path / "out.mkv")) as out:
        times = [p.dts for p in out.demux(audio=0) if p.size]
        assert times == sorted(set(times)) and len(times) == len(read.packets)
    with av.open(str(tmp_path / "out.mkv")) as out, av.open(str(clip)) as given:
        assert len(list(out.decode(audio=0))) == len(list(given.decode(audio=0)))


def test_the_look_is_in_step_with_noise(tmp_path: Path) -> None:
    """Whatever a file holds, the walks end, and raise nothing but what they say."""
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, 5000).astype(np.uint8).tobytes()
    for head in (b"\x47" + bytes(187), struct.pack(">I4s", 8, b"moov"), b"\x1a\x45\xdf\xa3\x80"):
        (tmp_path / "noise").write_bytes(head * 2 + noise)
        transport.look(tmp_path / "noise", [0x100], [0x100], False)
