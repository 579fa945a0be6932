"""Videos in several segments: joined without a trace, whatever the encoder, the container and the times."""

from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path

import av
import pytest
from clips import make_clip, packet_hashes, read_planes, read_times
from interrupted import FRAMES, short_segments
from zero_change import copy, samples

from deblurcli.errors import OutputError
from deblurcli.files import PartFolder
from deblurcli.media import encoders
from deblurcli.media.choice import choose
from deblurcli.media.disk_use import readable_size
from deblurcli.media.reader import VideoReader
from deblurcli.media.segments import SegmentEncoder, SegmentWriter, read_segment
from deblurcli.media.writer import VideoWriter

SIZES = {"dvvideo": (720, 576), "dnxhd": (256, 144), "h263": (176, 144)}
SUFFIXES = {"dvvideo": ".avi", "dnxhd": ".mov", "cfhd": ".mov", "qtrle": ".mov", "png": ".mov", "r210": ".mov"}
SUFFIXES |= {"v210": ".mov", "libvpx": ".webm", "libvpx-vp9": ".webm", "flv": ".flv", "flashsv": ".flv", "h263": ".3gp"}
SUFFIXES |= dict.fromkeys(("ffvhuff", "utvideo", "huffyuv", "magicyuv", "msmpeg4", "msmpeg4v2"), ".avi")
SUFFIXES |= {"wmv1": ".wmv", "wmv2": ".wmv", "mpeg1video": ".mpg", "mpeg2video": ".ts"}
LAYOUTS = {"cfhd": "yuv422p10le", "prores_ks": "yuv422p10le", "v210": "yuv422p10le", "dnxhd": "yuv422p"}
LAYOUTS |= dict.fromkeys(("qtrle", "png", "flashsv", "libx264rgb"), "bgr0") | {"r210": "gbrp10le"}
LAYOUTS |= {"libvpx-vp9": "yuva420p", "magicyuv": "yuv422p", "huffyuv": "yuv422p", "mjpeg": "yuvj420p"}
WITHOUT_LOSS = {"ffv1", "ffvhuff", "huffyuv", "utvideo", "magicyuv", "png", "qtrle", "rawvideo", "v210", "r210"}


@pytest.mark.parametrize("codec", sorted(set(encoders.available_encoders()) - {"h264_nvenc"}))
def test_segments_join_for_every_encoder(tmp_path: Path, codec: str) -> None:
    """The last one is shorter than the others; the reader finds nothing missing between them."""
    layout, size = LAYOUTS.get(codec, "yuv420p"), SIZES.get(codec, (64, 48))
    source = make_clip(tmp_path / "in.mkv", codec="mjpeg" if codec == "mjpeg" else "ffv1", pix_fmt=layout, size=size)
    out = tmp_path / f"out{SUFFIXES.get(codec, '.mkv')}"
    usual = copy(source, tmp_path / f"usual{out.suffix}", codec=codec)
    with short_segments():
        writer = copy(source, out, codec=codec)
    assert len(writer.segments) == 3 and writer.codec == codec
    assert writer.differences == usual.differences and read_times(out) == read_times(usual.destination)
    with VideoReader(out, strict=True) as reader:
        frames = list(reader.frames())
    assert len(frames) == 12 and reader.damage.lines() == []
    if codec in WITHOUT_LOSS:
        assert samples(out) == samples(usual.destination)


def test_the_head_of_the_stream_is_that_of_every_segment(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv")
    with VideoReader(source) as reader:
        for codec in ("libx264", "libx265", "ffv1", "mpeg4", "libsvtav1"):
            encoding = choose(reader.info.video, reader.layout, tmp_path / "out.mkv", codec, None, None)
            heads = {SegmentEncoder(encoding, reader.info.video, first).extradata for first in (0, 125, 99_999)}
            assert len(heads) == 1 and heads != {b""}


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts", ".nut"])
def test_a_variable_rate_sound_and_text_pass_the_joints(tmp_path: Path, suffix: str) -> None:
    pts = [0, 40, 80, 130, 170, 460, 500, 501, 595, 640, 660, 700]
    source = make_clip(
        tmp_path / "in.mkv",
        codec="libx264",
        time_base=Fraction(1, 1000),
        pts=pts,
        audio=True,
        subtitles=suffix == ".mkv",
    )
    usual = copy(source, tmp_path / f"usual{suffix}")
    with short_segments():
        writer = copy(source, tmp_path / f"out{suffix}")
    assert writer.differences == usual.differences
    for kind in ("audio", "subtitle"):
        assert packet_hashes(writer.destination, kind) == packet_hashes(usual.destination, kind)
    assert read_times(writer.destination) == read_times(usual.destination)


def test_groups_of_pictures_count_on(tmp_path: Path) -> None:
    """Their time codes say so to the frame (ISO/IEC 13818-2, table 6-11)."""
    source = make_clip(tmp_path / "in.mkv", codec="mpeg2video", frames=10)
    with short_segments():
        copy(source, tmp_path / "out.ts", codec="mpeg2video")
    codes = []
    with av.open(str(tmp_path / "out.ts")) as container:
        for packet in container.demux(video=0):
            data = bytes(packet)
            if (at := data.find(b"\0\0\1\xb8")) >= 0:
                bits = int.from_bytes(data[at + 4 : at + 8], "big")
                codes.append(bits >> 7 & 63)
    assert codes == [0, FRAMES, 2 * FRAMES]


def test_a_segment_holds_what_the_encoder_gave(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", pix_fmt="yuva420p", frames=5)
    with VideoReader(source) as reader:
        video = reader.info.video
        encoding = choose(video, reader.layout, tmp_path / "out.webm", "libvpx-vp9", None, None)
        given = []
        encoder, writer = (SegmentEncoder(encoding, video) for _ in range(2))
        file = SegmentWriter(tmp_path / "segment", writer)
        for frame in reader.frames():
            again = frame.__class__(frame.planes, frame.layout, frame.pts, frame.time_base, frame.duration)
            given += encoder.encode(again)
            file.write(again)
        given += encoder.rest()
        kept = file.complete()
    found = list(read_segment(tmp_path / "segment").packets())
    assert (
        read_segment(tmp_path / "segment") == kept and kept.times.tolist() == [0, 40, 80, 120, 160] and kept.end == 200
    )

    def told(packet: av.Packet) -> tuple[object, ...]:
        added = packet.get_sidedata("matroska_block_additional")
        return packet.pts, packet.dts, packet.duration, packet.is_keyframe, bytes(packet), bytes(added)

    assert [told(packet) for packet in found] == [told(packet) for packet in given]
    assert len(bytes(found[0].get_sidedata("matroska_block_additional"))) > 8  # the alpha


def test_every_change_of_a_segment_is_found(tmp_path: Path) -> None:
    source, path = make_clip(tmp_path / "in.mkv", frames=3, size=(16, 16)), tmp_path / "segment"
    with VideoReader(source) as reader:
        encoding = choose(reader.info.video, reader.layout, tmp_path / "out.mkv", "ffv1", None, None)
        file = SegmentWriter(path, SegmentEncoder(encoding, reader.info.video))
        for frame in reader.frames():
            file.write(frame)
        file.complete()
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x81]) + whole[at + 1 :]):
            path.write_bytes(content)
            with pytest.raises(OutputError, match="is damaged"):
                read_segment(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(OutputError, match="is damaged"):
        read_segment(path)


def test_sizes_for_people() -> None:
    given = {0: "0 bytes", 999: "999 bytes", 1000: "1 kB", 999_499: "999 kB", 999_500: "1 MB", 1_234_567_890: "1.23 GB"}
    assert {size: readable_size(size) for size in given} == given


def test_frames_are_the_same_in_segments_where_nothing_is_lost(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", frames=11)
    with short_segments():
        copy(source, tmp_path / "out.mkv")
    assert read_planes(tmp_path / "out.mkv") == read_planes(source)


def test_a_writer_without_a_journal_begins_anew(tmp_path: Path) -> None:
    source, out = make_clip(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    folder = PartFolder(out)
    (folder.path / "segment-00000").write_bytes(b"left behind")
    folder.close(keep=True)
    copy(source, out)
    assert read_planes(out) == read_planes(source) and not folder.path.exists()


def test_the_encoders_of_finished_segments_hold_no_memory(tmp_path: Path) -> None:
    """Not even where Python does not look for cycles by itself, as it hardly does while frames are restored."""

    def held() -> int:
        return sum(type(found) is av.container.OutputContainer for found in gc.get_objects())

    clip, found = make_clip(tmp_path / "a.mkv", frames=4 * FRAMES), []
    gc.collect()
    before = held()
    gc.disable()
    try:
        with (
            short_segments(),
            VideoReader(clip, copied=True) as reader,
            VideoWriter(reader, tmp_path / "b.mkv", completed=lambda frames: found.append(held() - before)) as writer,
        ):
            for item in reader.items():
                writer.write(item)
    finally:
        gc.enable()
    assert len(found) == 4 and max(found) <= 1
