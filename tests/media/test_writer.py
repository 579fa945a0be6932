"""All or nothing: refusals come before the first frame, failures leave the folder as it was."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import pytest
from clips import make_clip, read_times
from zero_change import copy, samples

from deblurcli.errors import DeblurError, InputError, OutputError, UsageError
from deblurcli.media.frames import Frame
from deblurcli.media.probe import probe
from deblurcli.media.reader import VideoReader
from deblurcli.media.writer import VideoWriter


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return make_clip(tmp_path / "in" / "a.mkv", codec="libx264", crf=18, audio=True)


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """The folder holds the same names and bytes afterwards."""

    def state() -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    before = state()
    yield
    assert state() == before


def refused(kind: type[DeblurError], clip: Path, destination: Path, match: str, **options: object) -> None:
    with unchanged(clip.parent.parent), VideoReader(clip) as reader, pytest.raises(kind, match=match) as caught:
        VideoWriter(reader, destination, **options)  # type: ignore[arg-type]
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


def test_existing_output(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "b.mkv").write_text("precious")
    refused(UsageError, clip, tmp_path / "b.mkv", "exists; use --overwrite")
    copy(clip, tmp_path / "b.mkv", overwrite=True)
    assert len(read_times(tmp_path / "b.mkv")) == 12


def test_output_is_the_input(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(UsageError, clip, clip, "is the input", overwrite=True)
    (tmp_path / "soft.mkv").symlink_to(clip)
    refused(UsageError, clip, tmp_path / "soft.mkv", "is the input", overwrite=True)
    (tmp_path / "hard.mkv").hardlink_to(clip)
    refused(UsageError, clip, tmp_path / "hard.mkv", "is the input", overwrite=True)
    monkeypatch.chdir(clip.parent)
    refused(UsageError, clip, Path("../in/a.mkv"), "is the input", overwrite=True)


def test_folders(clip: Path, tmp_path: Path) -> None:
    refused(OutputError, clip, tmp_path / "none" / "b.mkv", "does not exist; create it")
    refused(OutputError, clip, tmp_path / "in", "is a folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_read_only_folder(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    refused(OutputError, clip, tmp_path / "locked" / "b.mkv", "not writable")


def test_folder_that_access_calls_read_only(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deblurcli.files.os.access", lambda *_: False)
    refused(OutputError, clip, tmp_path / "b.mkv", "not writable")


def test_unknown_names(clip: Path, tmp_path: Path) -> None:
    refused(OutputError, clip, tmp_path / "b.xyz", "no known video suffix; use one of .mp4")
    refused(OutputError, clip, tmp_path / "b.mp4", "no encoder libx999; use --codec libx264", codec="libx999")
    refused(OutputError, clip, tmp_path / "b.mp4", "no encoder aac", codec="aac")
    refused(OutputError, clip, tmp_path / "b.webm", "webm cannot hold libx264; use --codec libvpx-vp9", codec="libx264")
    refused(OutputError, clip, tmp_path / "b.mp4", "mp4 cannot hold prores_ks|cannot hold 64x48", codec="prores_ks")


def test_options_an_encoder_lacks(clip: Path, tmp_path: Path) -> None:
    refused(UsageError, clip, tmp_path / "b.mkv", "ffv1 has no --crf", codec="ffv1", crf=10)
    refused(UsageError, clip, tmp_path / "b.mkv", "ffv1 has no --preset", codec="ffv1", preset="slow")
    refused(UsageError, clip, tmp_path / "b.mkv", "--preset nonsense is none of libx264; use ultra", preset="nonsense")
    refused(UsageError, clip, tmp_path / "b.mkv", "--crf -300 is out of range for libx264; use 0 to 51", crf=-300)
    refused(UsageError, clip, tmp_path / "b.webm", "--crf 99 is out of range .* use 0 to 63", codec="vp9", crf=99)
    refused(
        UsageError, clip, tmp_path / "b.mp4", "--preset 14 is none of libsvtav1; use 0 to 13", codec="av1", preset="14"
    )


def test_crf_and_preset_reach_the_encoder(clip: Path, tmp_path: Path) -> None:
    sizes = {}
    for crf in (5, 40):
        copy(clip, tmp_path / f"{crf}.mkv", crf=crf, preset="veryfast")
        sizes[crf] = (tmp_path / f"{crf}.mkv").stat().st_size
    assert sizes[5] > sizes[40]
    copy(clip, tmp_path / "v.webm", codec="vp9", crf=30, preset="8")
    copy(clip, tmp_path / "m.mp4", codec="mpeg4", crf=5)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9"])
def test_crf_zero_is_lossless(clip: Path, tmp_path: Path, codec: str) -> None:
    copy(clip, tmp_path / "b.mkv", codec=codec, crf=0)
    assert samples(tmp_path / "b.mkv") == samples(clip)


def test_ten_bits_are_not_made_eight(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    deep = make_clip(tmp_path / "in" / "a.mkv", pix_fmt="yuv422p10le")
    refused(OutputError, deep, tmp_path / "b.mp4", "mpeg4 cannot hold 64x48 yuv422p10le; use", codec="mpeg4")
    refused(OutputError, deep, tmp_path / "b.flv", "cannot hold|", codec="flv")
    writer = copy(deep, tmp_path / "b.mp4")
    assert (writer.codec, writer.pix_fmt) == ("libx264", "yuv422p10le")
    deeper = make_clip(tmp_path / "in" / "c.mkv", pix_fmt="yuv420p12le")
    assert copy(deeper, tmp_path / "d.mp4").codec == "libx265"


@pytest.mark.parametrize("size", [(63, 47), (64, 47), (63, 48), (1, 1)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "in").mkdir()
    odd = make_clip(tmp_path / "in" / "a.mkv", size=size)
    assert copy(odd, tmp_path / "b.mkv").codec == "ffv1"
    assert samples(tmp_path / "b.mkv") == samples(odd)
    refused(OutputError, odd, tmp_path / "c.mp4", "libx264 does not open for .*; use --codec", codec="libx264")
    if size != (1, 1):
        copy(odd, tmp_path / "c.mp4")
        video = probe(tmp_path / "c.mp4").video
        assert (video.width, video.height, video.pix_fmt) == (*size, "yuv420p")


def test_alpha_is_kept_or_its_loss_is_told(tmp_path: Path) -> None:
    clear = make_clip(tmp_path / "a.mkv", pix_fmt="yuva420p")
    assert copy(clear, tmp_path / "b.mkv").pix_fmt == "yuva420p"
    writer = copy(clear, tmp_path / "b.mp4", codec="libx264")
    assert writer.pix_fmt == "yuv420p"
    assert any("alpha not kept" in line and "ffv1" in line for line in writer.differences)


def test_streams_a_container_cannot_hold_are_named_before_frame_one(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mkv", codec="libx264", audio=True, subtitles=True, attachment=True)
    with VideoReader(source, copied=True) as reader:
        with VideoWriter(reader, tmp_path / "b.mp4") as writer:
            told = list(writer.foreseen)
            for item in reader.items():
                writer.write(item)
        assert len(told) == 2
        assert told == [
            "subtitle stream 2 (subrip) dropped: mp4 cannot hold it; use .mkv, as the input",
            "attachment stream 3 (font.ttf) dropped: mp4 cannot hold it; use .mkv, as the input",
        ]
    assert [o.kind for o in probe(tmp_path / "b.mp4").others] == ["audio"]


def test_a_stream_that_only_the_trailer_would_refuse_is_dropped_at_once(tmp_path: Path) -> None:
    """PCM from AVI has no channel layout, which mp4 notices when it writes its index."""
    source = make_clip(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p", audio="pcm_s16le")
    writer = copy(source, tmp_path / "b.mp4")
    assert [line for line in writer.differences if "audio stream 1 (pcm_s16le) dropped" in line]
    assert copy(source, tmp_path / "b.mkv").differences[:1] != writer.differences[:1]
    assert len(probe(tmp_path / "b.mkv").others) == 1


def test_rounded_times_are_told_in_the_unit_of_their_stream(tmp_path: Path) -> None:
    """QuickTime counts sound in samples, whatever the clock of the pictures is."""
    source, clip = tmp_path / "later.ts", make_clip(tmp_path / "a.ts", codec="libx264", audio="mp2")
    with av.open(str(clip)) as read, av.open(str(source), "w") as out:
        streams = [out.add_stream_from_template(stream) for stream in read.streams]
        for packet in read.demux():
            if packet.size:
                packet.stream, packet.pts, packet.dts = streams[packet.stream_index], packet.pts + 1, packet.dts + 1
                out.mux(packet)
    writer = copy(source, tmp_path / "b.mov")
    assert [line for line in writer.differences if "rounded" in line] == ["times rounded to 1/48000 s by mov (audio)"]


def test_avi_begins_with_its_first_picture(tmp_path: Path) -> None:
    """It would be shown from zero on, and stand still until the second one."""
    pts = list(range(1300, 1300 + 12 * 40, 40))
    source = make_clip(tmp_path / "a.mkv", codec="mpeg4", pts=pts, time_base=Fraction(1, 1000))
    writer = copy(source, tmp_path / "b.avi")
    told = [line for line in writer.differences if "time" in line]
    assert told == ["all times moved by -1.3 s: avi cannot begin later than zero"]
    with VideoReader(tmp_path / "b.avi") as reader:
        shown = [frame.pts * frame.time_base for frame in reader.frames()]
    assert shown == [number * Fraction(1, 25) for number in range(12)]


def test_what_a_container_loses_is_told_at_the_end(tmp_path: Path) -> None:
    source = make_clip(
        tmp_path / "a.mkv", codec="libx264", chapters=True, rotation=90, tags={"title": "t"}, colour=(1, 1, 1, 1)
    )
    lines = copy(source, tmp_path / "b.ts").differences
    for word in ("rotation", "chapters", "tags", "all times moved"):
        assert [line for line in lines if word in line], word
    assert all("\n" not in line for line in lines)


def test_mp4_keeps_unusual_tags(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mkv", tags={"title": "t", "location-eng": "+48.1/", "x-lab": "7"})
    writer = copy(source, tmp_path / "b.mp4", codec="libx264")
    assert writer.differences == []
    assert {k.lower(): v for k, v in probe(tmp_path / "b.mp4").tags.items()}["x-lab"] == "7"


def test_an_exception_leaves_nothing(clip: Path, tmp_path: Path) -> None:
    for stop in (0, 1, 7):
        with (
            unchanged(tmp_path),
            pytest.raises(KeyboardInterrupt),
            VideoReader(clip, copied=True) as reader,
            VideoWriter(reader, tmp_path / "b.mp4") as writer,
        ):
            for number, item in enumerate(reader.items()):
                if number == stop:
                    raise KeyboardInterrupt
                writer.write(item)


def test_no_frames_leave_nothing(clip: Path, tmp_path: Path) -> None:
    refusal = pytest.raises(OutputError, match="no frames")
    with unchanged(tmp_path), VideoReader(clip) as reader, refusal, VideoWriter(reader, tmp_path / "b.mp4"):
        pass


def test_part_lies_beside_the_output_until_the_end(clip: Path, tmp_path: Path) -> None:
    with VideoReader(clip) as reader:
        with VideoWriter(reader, tmp_path / "b.mp4") as writer:
            assert sorted(p.name for p in tmp_path.iterdir()) == [".b.mp4.part", "in"]
            for frame in reader.frames():
                writer.write(frame)
            assert not (tmp_path / "b.mp4").exists()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["b.mp4", "in"]


def test_a_part_of_another_run_is_not_used(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".b.mp4.same.part").write_text("another run's")
    names = iter(["same", "same", "other"])
    monkeypatch.setattr("deblurcli.files.secrets.token_hex", lambda _: next(names))
    copy(clip, tmp_path / "b.mp4")
    assert (tmp_path / ".b.mp4.same.part").read_text() == "another run's"


def test_a_name_that_appears_meanwhile_is_not_replaced(clip: Path, tmp_path: Path) -> None:
    refusal = pytest.raises(UsageError, match="appeared")
    with VideoReader(clip) as reader, refusal, VideoWriter(reader, tmp_path / "b.mp4") as writer:
        for frame in reader.frames():
            writer.write(frame)
        (tmp_path / "b.mp4").write_text("another's")
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["b.mp4"]
    assert (tmp_path / "b.mp4").read_text() == "another's"


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize("limit", [100, 2_000, 60_000])
def test_a_full_disk_leaves_nothing(tmp_path: Path, limit: int, suffix: str) -> None:
    import signal

    (tmp_path / "in").mkdir()
    source = make_clip(tmp_path / "in" / "a.mkv", noise=True, size=(128, 96))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        with unchanged(tmp_path), pytest.raises(OutputError) as caught:
            copy(source, tmp_path / f"b{suffix}", codec="libx264", crf=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "cannot be written" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["a b'\"c.mkv", "-dash.mkv", "out 🎬.mkv", "é" * 125 + ".mkv", "x" * 251 + ".mkv", "http:x.mkv"]
)
def test_any_output_name(clip: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    copy(clip, Path(name))
    assert [p.name for p in Path().iterdir()] == [name]


def test_avi_without_reordering(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.avi", codec="mpeg4", crf=None, options={"b": "2M"})
    for codec in (None, "libx264", "ffv1"):
        copy(source, tmp_path / "b.avi", codec=codec, overwrite=True)
        assert read_times(tmp_path / "b.avi")[-1] - read_times(tmp_path / "b.avi")[0] == Fraction(11, 25)
        assert len(samples(tmp_path / "b.avi")) == 12


def test_uneven_times_are_refused_by_avi(tmp_path: Path) -> None:
    pts = [0, 1, 2, 3, 4, 100, 101, 102, 103, 104, 105, 900]
    source = make_clip(tmp_path / "a.mkv", pts=pts, time_base=Fraction(1, 1000))
    with pytest.raises(OutputError, match="refused the streams or their timing"):
        copy(source, tmp_path / "b.avi")
    assert not (tmp_path / "b.avi").exists()


def test_the_input_is_not_touched(clip: Path, tmp_path: Path) -> None:
    before = (clip.read_bytes(), clip.stat().st_mtime_ns)
    copy(clip, tmp_path / "b.mkv")
    assert (clip.read_bytes(), clip.stat().st_mtime_ns) == before


def test_reader_and_writer_hold_a_bounded_number_of_frames(tmp_path: Path) -> None:
    """Live frames stay few however long the clip is: nothing is gathered on the way."""
    import gc

    source = make_clip(tmp_path / "a.mkv", frames=150, audio=True)
    most = 0
    gc.collect()
    others = sum(type(o) is Frame for o in gc.get_objects())
    with VideoReader(source, copied=True) as reader, VideoWriter(reader, tmp_path / "b.mkv") as writer:
        for number, item in enumerate(reader.items()):
            writer.write(item)
            if number % 40 == 0:
                most = max(most, sum(type(o) is Frame for o in gc.get_objects()) - others)
    assert most <= 4


def test_reader_in_one_thread_writer_in_another(clip: Path, tmp_path: Path) -> None:
    import queue
    import threading

    passed: queue.Queue = queue.Queue(maxsize=3)
    with VideoReader(clip, copied=True) as reader, VideoWriter(reader, tmp_path / "b.mkv", codec="ffv1") as writer:

        def read() -> None:
            for item in reader.items():
                passed.put(item)
            passed.put(None)

        thread = threading.Thread(target=read)
        thread.start()
        while (item := passed.get()) is not None:
            writer.write(item)
        thread.join()
    assert samples(tmp_path / "b.mkv") == samples(clip)


def test_zero_decodable_frames(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mov", codec="png", pix_fmt="rgb24", noise=True)
    source.write_bytes(source.read_bytes().replace(b"\x89PNG", b"\0\0\0\0"))
    with pytest.raises(InputError, match=r"no frame that decodes|cannot be read"):
        probe(source)


def test_uncompressed_sound_in_mp4_is_noted(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mov", codec="libx264", audio="pcm_s16be")
    assert copy(source, tmp_path / "b.mov").notes == []
    writer = copy(source, tmp_path / "b.mp4")
    assert writer.notes == [
        "audio stream 1 (pcm_s16be) is uncompressed, which some players do not read in .mp4; .mov is safer"
    ]
    assert writer.differences == []
