"""Only pixels change: reading and writing with a zero change keeps every sample, time, stream and tag."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch
from clips import cut_tail, make_clip, packet_hashes, read_planes, read_times, zero_span
from zero_change import copy, samples

from deblurcli.errors import InputError
from deblurcli.media import reader as reading
from deblurcli.media.frames import Frame
from deblurcli.media.probe import probe
from deblurcli.media.reader import VideoReader
from deblurcli.media.writer import VideoWriter


def times(path: Path) -> list[tuple[int, int]]:
    with VideoReader(path) as reader:
        return [(frame.pts, frame.duration) for frame in reader.frames()]


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        *(("ffv1", name, ".mkv") for name in ["yuv420p", "yuv422p", "yuv444p", "yuv410p", "yuv411p", "yuv440p"]),
        *(("ffv1", name, ".mkv") for name in ["yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv420p12le"]),
        *(("ffv1", name, ".mkv") for name in ["yuv444p16le", "yuva420p", "yuva444p10le", "gray", "gray10le"]),
        *(("ffv1", name, ".mkv") for name in ["gray12le", "gray16le", "ya8", "bgr0", "bgra", "gbrp10le", "gbrp12le"]),
        *(("ffv1", name, ".mkv") for name in ["gbrp14le", "gbrp16le", "gbrap10le", "rgb48le", "rgba64le"]),
        *(("libx264", name, ".mp4") for name in ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "gray", "nv12"]),
        *(("libx264", name, ".mp4") for name in ["yuv420p10le", "yuv422p10le", "yuv444p10le", "gray10le"]),
        *(("libx264rgb", name, ".mp4") for name in ["rgb24", "bgr24", "bgr0"]),
        *(("libx265", name, ".mkv") for name in ["yuv420p", "yuv420p10le", "yuv422p12le", "gbrp", "gbrp10le", "gray"]),
        *(("rawvideo", name, ".nut") for name in ["nv12", "yuyv422", "uyvy422", "rgb24", "rgba", "gbrp"]),
        *(("rawvideo", name, ".nut") for name in ["nv21", "rgb48le", "yuv420p10be", "argb", "gray16be"]),
        ("rawvideo", "rgb24", ".mov"),
        *(("png", name, ".mov") for name in ["rgb24", "rgba", "rgb48be", "gray", "gray16be", "pal8"]),
        ("huffyuv", "yuv422p", ".avi"),
        ("ffvhuff", "gbrp", ".avi"),
        ("utvideo", "yuv420p", ".avi"),
        ("qtrle", "rgb24", ".mov"),
        ("qtrle", "argb", ".mov"),
        ("mjpeg", "yuvj420p", ".mkv"),
    ],
)
def test_every_layout_survives_bit_for_bit(tmp_path: Path, codec: str, pix_fmt: str, suffix: str) -> None:
    source = make_clip(tmp_path / f"a{suffix}", codec=codec, pix_fmt=pix_fmt, frames=3, noise=True)
    container = suffix if codec == "rawvideo" else ".mkv"
    # ffv1 takes nearly everything; its few gaps are other lossless encoders'.
    lossless = None if codec in ("rawvideo", "png") else "ffv1"
    copy(source, tmp_path / f"b{container}", codec=lossless)
    assert samples(tmp_path / f"b{container}") == samples(source)
    assert probe(tmp_path / f"b{container}").video.depth == probe(source).video.depth


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p", "yuvj420p", "gray"])
def test_x264_lossless_gives_ffmpeg_the_same_planes(tmp_path: Path, pix_fmt: str) -> None:
    source = make_clip(tmp_path / "a.mp4", codec="libx264", pix_fmt=pix_fmt, noise=True)
    writer = copy(source, tmp_path / "b.mp4", crf=0)
    assert writer.codec == "libx264"
    assert read_planes(tmp_path / "b.mp4") == read_planes(source)


def test_rgb_into_mp4_stays_rgb(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mkv", codec="libx264rgb", pix_fmt="rgb24")
    writer = copy(source, tmp_path / "b.mp4", crf=0)
    assert writer.codec == "libx264rgb"
    assert samples(tmp_path / "b.mp4") == samples(source)


@pytest.mark.parametrize(
    ("codec", "suffix", "pix_fmt", "expected"),
    [
        ("libx264", ".mp4", "yuv420p", "libx264"),
        ("libx265", ".mp4", "yuv420p10le", "libx265"),
        ("libvpx", ".webm", "yuv420p", "libvpx"),
        ("libvpx-vp9", ".webm", "yuv420p", "libvpx-vp9"),
        ("libsvtav1", ".mp4", "yuv420p10le", "libsvtav1"),
        ("mpeg4", ".mp4", "yuv420p", "mpeg4"),
        ("mpeg2video", ".ts", "yuv420p", "mpeg2video"),
        ("prores_ks", ".mov", "yuv422p10le", "prores_ks"),
        ("mjpeg", ".mov", "yuvj422p", "mjpeg"),
        ("huffyuv", ".avi", "yuv422p", "huffyuv"),
    ],
)
def test_the_codec_family_is_kept_nearly_lossless(
    tmp_path: Path, codec: str, suffix: str, pix_fmt: str, expected: str
) -> None:
    quality = {"b": "2M"} if codec in ("libvpx", "mpeg4", "mpeg2video", "mjpeg") else {}
    source = make_clip(tmp_path / f"a{suffix}", codec=codec, pix_fmt=pix_fmt, options=quality)
    writer = copy(source, tmp_path / f"b{suffix}")
    assert writer.codec == expected
    assert probe(tmp_path / f"b{suffix}").video.profile == probe(source).video.profile or codec == "libx264"
    with VideoReader(source) as a, VideoReader(tmp_path / f"b{suffix}") as b:
        pairs = list(zip(a.frames(), b.frames(), strict=True))
    assert [f.pts for f, _ in pairs] == [f.pts for _, f in pairs]
    error = torch.stack([(f.rgb() - g.rgb()).square().mean() for f, g in pairs]).mean()
    assert -10 * torch.log10(error + 1e-12) > 38


IRREGULAR = [0, 3600, 7200, 9000, 20000, 30000, 30090, 40000, 44000, 50000, 60000, 90000]


@pytest.mark.parametrize("offset", [0, 7203])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".ts"])
def test_irregular_times_are_kept_exactly(tmp_path: Path, suffix: str, offset: int) -> None:
    pts = [t + offset + (90000 if suffix == ".ts" else 0) for t in IRREGULAR]  # ts: room for B-frames before
    source = make_clip(tmp_path / f"a{suffix}", codec="libx264", pts=pts, time_base=Fraction(1, 90000))
    assert read_times(source) == [Fraction(t, 90000) for t in pts]
    writer = copy(source, tmp_path / f"b{suffix}")
    assert times(tmp_path / f"b{suffix}") == times(source)
    assert probe(tmp_path / f"b{suffix}").video.time_base == probe(source).video.time_base
    assert writer.differences == []


def test_irregular_times_in_matroska(tmp_path: Path) -> None:
    pts = [t // 90 for t in IRREGULAR]
    source = make_clip(tmp_path / "a.mkv", codec="libx264", pts=pts, time_base=Fraction(1, 1000))
    for name in ("b.mkv", "b.mp4"):
        writer = copy(source, tmp_path / name)
        assert times(tmp_path / name) == times(source)
        assert [d for _, d in times(tmp_path / name)] == [b - a for a, b in zip(pts, [*pts[1:], 1040], strict=True)]
        assert probe(tmp_path / name).duration == probe(source).duration == Fraction(1040, 1000)
        assert writer.differences == []


def test_rounding_is_a_difference_only_where_a_time_moves(tmp_path: Path) -> None:
    film = make_clip(tmp_path / "film.mp4", codec="libx264", rate=Fraction(24000, 1001))
    writer = copy(film, tmp_path / "film.mkv")
    assert [line for line in writer.differences if "rounded to 1/1000 s by matroska" in line]
    even = make_clip(tmp_path / "even.mp4", codec="libx264", rate=25)
    assert copy(even, tmp_path / "even.mkv").differences == []


def test_length_of_irregular_video_with_b_frames_is_the_true_one(tmp_path: Path) -> None:
    pts = [t // 90 for t in IRREGULAR]
    source = make_clip(tmp_path / "a.mkv", codec="ffv1", pts=pts, time_base=Fraction(1, 1000))
    copy(source, tmp_path / "b.mp4", codec="libx264")
    assert probe(tmp_path / "b.mp4").duration == Fraction(pts[-1] + 40, 1000)


def start_early(source: Path, destination: Path) -> list[str]:
    """Copy a clip as if everything began 80 ms before zero. Returns the differences."""
    with VideoReader(source, copied=True) as reader:
        reader.info = replace(reader.info, video=replace(reader.info.video, start=-80))
        with VideoWriter(reader, destination, codec="ffv1") as writer:
            for item in reader.items():
                if isinstance(item, Frame):
                    item = replace(item, pts=item.pts - 80)
                else:
                    item.pts, item.dts = item.pts - 80, item.dts - 80
                writer.write(item)
    return writer.differences


@pytest.mark.parametrize(("suffix", "muxer"), [(".mkv", "matroska"), (".mp4", "mp4")])
def test_negative_start_moves_everything_together(tmp_path: Path, suffix: str, muxer: str) -> None:
    source = make_clip(tmp_path / "a.mkv", codec="libx264", audio=True)
    lines = start_early(source, tmp_path / f"b{suffix}")
    assert lines[0] == f"all times moved by 0.08 s: {muxer} cannot begin before zero"
    roles = ["roles of audio stream 1 (aac) not kept by mp4: original; use .mkv, as the input"]
    assert lines[1:] == (roles if suffix == ".mp4" else [])
    assert read_times(tmp_path / f"b{suffix}") == read_times(source)
    assert packet_hashes(tmp_path / f"b{suffix}", "audio") == packet_hashes(source, "audio")


def test_sound_may_begin_before_zero_in_matroska(tmp_path: Path) -> None:
    """As the first packets of AAC in mp4 do, which hold what the encoder needs to begin with."""
    source = make_clip(tmp_path / "a.mp4", codec="libx264", audio=True, time_base=Fraction(1, 1000), rate=25)
    lines = copy(source, tmp_path / "b.mkv").differences
    assert not [line for line in lines if "moved" in line]
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert next(container.demux(container.streams.audio[0])).pts < 0


@pytest.mark.parametrize(("source_name", "name"), [("a.mp4", "b.mp4"), ("a.mp4", "b.mov"), ("a.mkv", "b.mkv")])
def test_sample_aspect_ratio(tmp_path: Path, source_name: str, name: str) -> None:
    source = make_clip(tmp_path / source_name, codec="libx264", sar=Fraction(12, 11))
    assert probe(source).video.sample_aspect_ratio == Fraction(12, 11)
    assert copy(source, tmp_path / name).differences == []
    assert probe(tmp_path / name).video.sample_aspect_ratio == Fraction(12, 11)


@pytest.mark.parametrize("ratio", [Fraction(12, 11), Fraction(19, 16), Fraction(64, 45), Fraction(1, 2)])
@pytest.mark.parametrize(
    ("codec", "suffix"), [("ffv1", ".mkv"), ("libx264", ".mkv"), ("vp8", ".webm"), ("vp9", ".webm")]
)
def test_sample_aspect_ratio_in_matroska(tmp_path: Path, suffix: str, codec: str, ratio: Fraction) -> None:
    source = make_clip(tmp_path / "a.mp4", codec="libx264", sar=ratio, audio="libopus", chapters=True)
    writer = copy(source, tmp_path / f"b{suffix}", codec=codec)
    assert [line for line in writer.differences if "aspect" in line or "opus" in line] == []
    assert probe(tmp_path / f"b{suffix}").video.sample_aspect_ratio == ratio
    assert read_times(tmp_path / f"b{suffix}") == read_times(source)
    assert packet_hashes(tmp_path / f"b{suffix}", "audio") == packet_hashes(source, "audio")
    with av.open(str(tmp_path / f"b{suffix}")) as container:  # the index still leads to every place
        container.seek(300_000)
        assert next(container.decode(video=0)).pts is not None
        assert len(container.chapters()) == 2


def test_sample_aspect_ratio_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", codec="libx264", sar=Fraction(12, 11))
    writer = copy(source, tmp_path / "b.avi", codec="ffv1")
    assert [line for line in writer.differences if "sample aspect ratio not kept" in line]


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1"])
def test_clips_shorter_than_the_encoders_lookahead(tmp_path: Path, codec: str, frames: int) -> None:
    source = make_clip(tmp_path / "a.mkv", frames=frames)
    copy(source, tmp_path / "b.mp4", codec=codec)
    assert times(tmp_path / "b.mp4") == times(source)
    assert probe(tmp_path / "b.mp4").duration == probe(source).duration


def test_all_other_streams_are_copied(tmp_path: Path) -> None:
    tags = {"title": "Übung 1", "comment": "c"}
    for suffix, codec in ((".mkv", "ffv1"), (".mp4", "libx264"), (".mov", "libx264")):
        everything = {"audio": True, "subtitles": suffix != ".mov", "chapters": True, "tags": tags}
        source = make_clip(tmp_path / f"a{suffix}", codec=codec, **everything)  # type: ignore[arg-type]
        result = tmp_path / f"b{suffix}"
        writer = copy(source, result)
        assert writer.differences == []
        for kind in ("audio", "subtitle"):
            assert packet_hashes(result, kind) == packet_hashes(source, kind), kind
        with av.open(str(source)) as a, av.open(str(result)) as b:
            assert [s.language for s in a.streams] == [s.language for s in b.streams]
            assert [s.disposition for s in a.streams] == [s.disposition for s in b.streams]
            assert [c["metadata"] for c in a.chapters()] == [c["metadata"] for c in b.chapters()]
            assert [c["start"] * c["time_base"] for c in a.chapters()] == [
                c["start"] * c["time_base"] for c in b.chapters()
            ]
            assert {k.lower(): b.metadata[k] for k in b.metadata if k.lower() in tags} == tags
            assert a.duration == b.duration


def test_attachments_and_cover_art(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mkv", attachment=True, cover=True)
    assert copy(source, tmp_path / "b.mkv").differences == []
    with av.open(str(source)) as a, av.open(str(tmp_path / "b.mkv")) as b:
        assert a.streams.attachments[0].data == b.streams.attachments[0].data
        assert [s.metadata.get("filename") for s in a.streams] == [s.metadata.get("filename") for s in b.streams]
        covers = [next(bytes(p) for p in c.demux(c.streams.video[1]) if p.size) for c in (a, b)]
        assert covers[0] == covers[1]
    source = make_clip(tmp_path / "a.mp4", codec="libx264", cover=True)
    assert copy(source, tmp_path / "b.mp4").differences == []
    assert [o.attached_picture for o in probe(tmp_path / "b.mp4").others] == [True]
    assert copy(source, tmp_path / "c.mkv").differences == []
    assert [o.attached_picture for o in probe(tmp_path / "c.mkv").others] == [True]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mp4"), ("ffv1", ".mkv")])
def test_all_eight_orientations(tmp_path: Path, codec: str, suffix: str, rotation: int, mirrored: bool) -> None:
    source = make_clip(tmp_path / f"a{suffix}", codec=codec, rotation=rotation, mirrored=mirrored, frames=2)
    writer = copy(source, tmp_path / f"b{suffix}")
    before, after = probe(source).video, probe(tmp_path / f"b{suffix}").video
    assert before.display_matrix == after.display_matrix
    assert writer.differences == []
    assert (before.display_matrix is None) == (rotation == 0 and not mirrored)


@pytest.mark.parametrize("colour", [(1, 1, 1, 1), (9, 16, 9, 1), (9, 18, 9, 2), (5, 6, 5, 1), (6, 6, 6, 2), None])
@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mp4"), ("libx265", ".mp4"), ("ffv1", ".mkv")])
def test_colour_tags_come_back_unchanged(tmp_path: Path, codec: str, suffix: str, colour: tuple | None) -> None:
    source = make_clip(tmp_path / f"a{suffix}", codec=codec, colour=colour, frames=6)
    writer = copy(source, tmp_path / f"b{suffix}")
    assert probe(tmp_path / f"b{suffix}").video.colour == probe(source).video.colour
    assert writer.differences == []


def test_hdr10_metadata(tmp_path: Path) -> None:
    display = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    hdr = {"x265-params": f"lossless=1:log-level=none:{display}:max-cll=1000,400"}
    source = make_clip(
        tmp_path / "a.mp4", codec="libx265", pix_fmt="yuv420p10le", colour=(9, 16, 9, 1), frames=6, options=hdr
    )
    assert probe(source).video.hdr10 == f"{display}:max-cll=1000,400"
    assert copy(source, tmp_path / "b.mp4").differences == []
    assert probe(tmp_path / "b.mp4").video.hdr10 == probe(source).video.hdr10
    for codec in ("libx264", "libsvtav1"):
        copy(source, tmp_path / f"{codec}.mp4", codec=codec)
        assert set(probe(tmp_path / f"{codec}.mp4").video.side_data) >= {"mastering display", "content light level"}
    lines = copy(source, tmp_path / "c.mkv", codec="ffv1").differences
    assert {line.split(" not kept")[0] for line in lines} >= {"content light level", "mastering display"}


def test_only_the_video_is_written_where_the_reader_copies_nothing(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mkv", audio=True)
    with VideoReader(source) as reader, VideoWriter(reader, tmp_path / "b.mkv") as writer:
        for frame in reader.frames():
            writer.write(frame)
    assert writer.differences == []
    assert probe(tmp_path / "b.mkv").others == ()


def test_damage_in_the_middle_is_counted_and_the_rest_decodes(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mov", codec="png", pix_fmt="rgb24", noise=True, frames=30)
    damaged = zero_span(clip, 0.5, 3000, tmp_path / "damaged.mov")
    with VideoReader(damaged) as reader:
        count = sum(1 for _ in reader.frames())
    assert count == 30
    assert reader.damage.lost.count > 0


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "ffv1"), (".ts", "libx264")])
def test_cut_file_gives_what_decodes(tmp_path: Path, suffix: str, codec: str) -> None:
    clip = make_clip(tmp_path / f"a{suffix}", codec=codec, noise=True, frames=30)
    cut = cut_tail(clip, 0.5, tmp_path / f"cut{suffix}")
    with VideoReader(cut) as reader:
        count = sum(1 for _ in reader.frames())
    assert 10 <= count <= 20
    assert reader.damage.packets > 0
    copy(cut, tmp_path / f"b{suffix}")
    assert len(read_times(tmp_path / f"b{suffix}")) == count


def test_endless_damage_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "a.mov", codec="png", pix_fmt="rgb24", frames=30, noise=True)
    data = clip.read_bytes()
    first = data.find(b"\x89PNG", data.find(b"\x89PNG") + 4)
    clip.write_bytes(data[:first] + data[first:].replace(b"\x89PNG", b"\0\0\0\0"))
    monkeypatch.setattr(reading, "MAX_FAILURES", 20)
    with VideoReader(clip) as reader, pytest.raises(InputError, match="20 damaged packets in a row"):
        list(reader.frames())


def test_one_frame(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", codec="libx264", frames=1)
    assert copy(source, tmp_path / "b.mp4").differences == []
    assert times(tmp_path / "b.mp4") == times(source)
    assert probe(tmp_path / "b.mp4").duration == probe(source).duration


@pytest.mark.parametrize("kind", ["klv", "timed_id3", "bin_data"])
def test_data_that_ffmpeg_only_names_is_copied(tmp_path: Path, kind: str) -> None:
    """As the positions that a drone records beside its pictures."""
    source, clock = tmp_path / "in.ts", Fraction(1, 90000)
    with av.open(str(make_clip(tmp_path / "a.ts", codec="libx264"))) as clip, av.open(str(source), "w") as out:
        video = out.add_stream_from_template(clip.streams.video[0])
        data = out.add_data_stream(kind)
        data.time_base = clock
        out.start_encoding()
        for packet in clip.demux(video=0):
            if packet.size:
                at, packet.stream = packet.dts, video
                out.mux(packet)
                said = av.Packet(bytes(range(40)))
                said.pts = said.dts = at
                said.time_base, said.stream = clock, data
                out.mux(said)
    assert [other.codec for other in probe(source).others] == [kind]
    assert not [line for line in copy(source, tmp_path / "out.ts").differences if "data" in line]
    assert packet_hashes(tmp_path / "out.ts", "data") == packet_hashes(source, "data")
    assert len(packet_hashes(source, "data")) == 12
    lost = copy(source, tmp_path / "out.mkv").differences
    assert f"data stream 1 ({kind}) dropped: matroska cannot hold it; use .ts, as the input" in lost


@pytest.mark.parametrize(
    ("name", "audio", "kinds"),
    [
        ("a.mp4", "mp2", ["audio", "video"]),
        ("a.mkv", "mp2", ["audio", "video"]),
        ("a.ts", "mp2", ["audio", "video"]),
        ("a.avi", "mp2", ["audio", "video"]),
        ("a.mxf", "pcm_s16le", ["video", "audio"]),  # the video comes first, always
    ],
)
def test_streams_keep_their_order(tmp_path: Path, name: str, audio: str, kinds: list[str]) -> None:
    source, clip = tmp_path / "in.mkv", make_clip(tmp_path / "a.mkv", codec="mpeg2video", audio=audio)
    with av.open(str(clip)) as read, av.open(str(source), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in reversed(read.streams)}
        for packet in read.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    copy(source, tmp_path / f"out{Path(name).suffix}")
    with av.open(str(tmp_path / f"out{Path(name).suffix}")) as written:
        assert [stream.type for stream in written.streams] == kinds
