"""`-` as input and output: the frames of the file route, nothing but the video on stdout, one line where it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import make_clip, packet_hashes, read_planes
from end_to_end import QUICK, deblur, small_network
from interrupted import ending, short_segments
from piping import deblur_piped, header, moving, planes, y4m

from deblurcli import api
from deblurcli.errors import UsageError
from deblurcli.media import pipes
from deblurcli.media.probe import probe

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the program ffmpeg is not installed")
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and pipes as on POSIX")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_network(tmp_path_factory.mktemp("weights") / "w.safetensors", 0.04)


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where stdin is kept; nothing stays there."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert not list(folder.iterdir())


def none(network: Path) -> list[object]:
    return ["--method", "none", "--network", network, "--dtype", "fp32"]


@pytest.mark.parametrize(
    ("pix_fmt", "rate", "full"),
    [
        ("yuv420p", Fraction(30000, 1001), False),
        ("yuv422p10le", 25, True),
        ("yuv444p12le", 50, False),
        ("gray", 25, True),
        ("yuv411p", 24, False),
    ],
)
def test_a_pipe_gives_the_frames_of_the_file_route(
    tmp_path: Path, network: Path, pix_fmt: str, rate: Fraction, full: bool
) -> None:
    content = y4m(moving(7), pix_fmt, rate, full)
    (tmp_path / "in.y4m").write_bytes(content)
    api.deblur_video(tmp_path / "in.y4m", tmp_path / "out.nut", method="none", network=network, dtype="fp32")
    code, out = deblur_piped("video", "-", "-o", "-", *none(network), stdin=content)
    assert code == 0
    assert planes(out) == read_planes(tmp_path / "out.nut") != planes(content)
    # Size, rate, fields, aspect, format and range as in the input; only that the aspect is not known is FFmpeg's 0:0.
    assert header(out) == header(content)


def test_what_adapts_sees_all_of_stdin_first(tmp_path: Path, network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = y4m(moving(9, 96, 160))
    (tmp_path / "in.y4m").write_bytes(content)
    words = ["--network", network, "--dtype", "fp32", "--steps", "2", *QUICK]
    code, out = deblur_piped("video", "-", "-o", "-", *words, stdin=content)
    said = capfd.readouterr().err
    assert code == 0
    assert f"stdin: {len(content) / 1000:.3g} kB kept in {tmp_path / 'spool'}" in said
    assert deblur_piped("video", tmp_path / "in.y4m", "-o", tmp_path / "out.mkv", *words)[0] == 0
    assert planes(out) == read_planes(tmp_path / "out.mkv")


def test_stdin_into_a_file_keeps_everything(tmp_path: Path, network: Path) -> None:
    """Also of a file that must be read from its end: the index of an mp4 is there."""
    source = make_clip(tmp_path / "in.mp4", codec="libx264", audio=True, tags={"title": "x"}, rotation=90)
    words = [*none(network), "--codec", "mpeg4"]
    assert deblur_piped("video", "-", "-o", tmp_path / "piped.mp4", *words, stdin=source.read_bytes())[0] == 0
    assert deblur_piped("video", source, "-o", tmp_path / "out.mp4", *words)[0] == 0
    for kind in ("video", "audio"):
        piped, out = (packet_hashes(tmp_path / name, kind) for name in ("piped.mp4", "out.mp4"))
        assert piped and piped == out
    piped, out = (probe(tmp_path / name) for name in ("piped.mp4", "out.mp4"))
    assert piped.video == out.video and piped.video.rotation and piped.tags == out.tags and piped.tags["title"] == "x"


def test_an_interrupted_run_of_stdin_goes_on(tmp_path: Path, network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The content counts, not where it comes from."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    content = y4m(moving(10))
    words = ["video", "-", "-o", tmp_path / "out.mkv", *none(network)]
    assert deblur_piped(*words, "--resume", stdin=content)[0] == 2  # nothing was interrupted
    with short_segments():
        with ending("encoding", 7, interrupt):
            assert deblur_piped(*words, stdin=content)[0] == 130
        assert deblur_piped(*words, "--resume", stdin=content)[0] == 0
    assert "going on behind frame 4" in capfd.readouterr().err


def test_what_y4m_cannot_hold_is_said_in_one_line(
    tmp_path: Path, network: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = make_clip(
        tmp_path / "in.mp4", codec="libx264", audio=True, tags={"title": "x"}, rotation=90, colour=(1, 1, 1, 1),
        chapters=True,
    )  # fmt: skip
    code, out = deblur_piped("video", source, "-o", "-", *none(network))
    said = capfd.readouterr().err
    assert code == 0  # who asks for pictures gets them
    assert "y4m holds pictures alone: without sound, rotation, colour tags, chapters, tags" in said
    assert len(planes(out)) == 12
    assert "C420mpeg2" in header(out)  # chroma lies left, as H.264 has it where nothing is said


def test_times_that_are_lost_are_a_difference(tmp_path: Path, network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pts = [0, 1, 2, 3, 4, 9, 14, 19, 24, 29, 34, 39]
    source = make_clip(tmp_path / "in.mkv", pts=pts, time_base=Fraction(1, 25))
    code, out = deblur_piped("video", source, "-o", "-", *none(network))
    assert (code, len(planes(out))) == (3, 12)
    assert "y4m has one rate" in capfd.readouterr().err


def test_fields_and_aspect_are_kept(tmp_path: Path, network: Path) -> None:
    content = y4m(moving(3)).replace(b" Ip A0:0", b" It A4:3", 1)
    code, out = deblur_piped("video", "-", "-o", "-", *none(network), stdin=content)
    assert (code, header(out)) == (0, header(content))


@pytest.mark.parametrize("pix_fmt", ["bgr0", "yuv440p"])
def test_samples_that_y_m_has_no_word_for_are_refused(
    tmp_path: Path, network: Path, capfd: pytest.CaptureFixture[str], pix_fmt: str
) -> None:
    source = make_clip(tmp_path / "in.mkv", pix_fmt=pix_fmt)
    assert deblur_piped("video", source, "-o", "-", *none(network)) == (5, b"")
    assert f"cannot hold {pix_fmt}; give a file: -o out.mkv" in capfd.readouterr().err
    for out, wanted in (("-", 5), (tmp_path / "out.mkv", 0)):
        assert deblur_piped("video", source, "-o", out, "--dry-run", *none(network))[0] == wanted


WHOLE = y4m(moving(6))
FRAME_BYTES = 64 * 96 * 3 // 2
REFUSED = {
    "empty": (b"", 4, "stdin is empty (0 bytes); check the command before the pipe"),
    "header alone": (WHOLE[: WHOLE.index(b"\n") + 1], 4, "stdin holds no whole frame of y4m"),
    "cut in the first frame": (WHOLE[:3000], 4, "stdin holds no whole frame of y4m"),
    "absurd header": (b"YUV4MPEG2 W0 H-3 F0:0\nFRAME\n", 4, "no frame can be read as its header says"),
    "too large": (b"YUV4MPEG2 W99999 H99999 F25:1 C420\nFRAME\n" + b"a" * 99, 4, "stdin"),
    "larger than it is": (WHOLE.replace(b"H64", b"H6400"), 4, "stdin holds no whole frame of y4m"),
    "no frames behind the first": (WHOLE[:9300] + b"nonsense" * 20000, 4, "places in a row cannot be read"),
    "text": (b"no video at all\n" * 9, 4, "stdin is text or not a video"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_video_is_refused_in_one_line(network: Path, capfd: pytest.CaptureFixture[str], kind: str) -> None:
    content, wanted, line = REFUSED[kind]
    code, out = deblur_piped("video", "-", "-o", "-", "-q", *none(network), stdin=content)
    said = capfd.readouterr().err.splitlines()
    assert code == wanted
    assert len(said) == 1
    assert line in said[0]
    assert out.count(b"FRAME") <= 1  # what was whole may have gone out


@pytest.mark.parametrize("route", ["stream", "spool", "file"])
def test_a_stream_that_ends_within_a_frame_is_counted_and_said(
    tmp_path: Path, network: Path, capfd: pytest.CaptureFixture[str], route: str
) -> None:
    cut = WHOLE[:-5000]
    words: list[object] = ["video", "-", "-o", "-" if route == "stream" else tmp_path / "out.nut", *none(network)]
    if route == "file":
        (tmp_path / "in.y4m").write_bytes(cut)
        words[1] = tmp_path / "in.y4m"
    code, out = deblur_piped(*words, stdin=cut)
    assert code == 3
    assert "the video ends within frame 6, which is left out: it was cut" in capfd.readouterr().err
    assert len(planes(out) if route == "stream" else read_planes(tmp_path / "out.nut")) == 5
    assert deblur_piped(*words, "--strict", "--overwrite", stdin=cut)[0] == 4 or route == "stream"


def test_options_that_a_pipe_cannot_follow_are_refused(tmp_path: Path, network: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv")
    for words in (
        ["video", "-"],
        ["video", "-", clip, "-o", "-"],
        ["video", "-", "-o", "-", "--shard", "1/2"],
        ["video", "-", "-o", f"{tmp_path}/"],
        ["video", "-", "-o", tmp_path / "nothing"],
        ["video", "-", "-o", "-", "--dry-run"],
        ["video", clip, "-o", "-", "--crf", "0"],
        ["video", clip, "-o", "-", "--resume"],
        ["video", clip, "-o", "-", "--compare", tmp_path / "c.html"],
        ["video", tmp_path / "*.mkv", clip, "-o", "-"],
    ):
        assert deblur_piped(*words, stdin=WHOLE) == (2, b""), words
    with pytest.raises(UsageError, match="no name"):
        api.deblur_video("-")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "spool"]


def test_a_file_called_minus_is_a_file(tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "in.mkv").rename("-")
    assert deblur_piped("video", "./-", "-o", "out.mkv", *none(network))[0] == 0


def test_stdin_that_does_not_fit_on_the_disk_is_said(
    tmp_path: Path, network: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes, "free_bytes", lambda folder: 1000)
    assert deblur_piped("video", "-", "-o", tmp_path / "o.mkv", *none(network), stdin=WHOLE)[0] == 5
    assert "only 1 kB are left there; set TMPDIR to a folder on a larger disk" in capfd.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_disk_that_is_full_behind_stdout_is_an_error(
    tmp_path: Path, network: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("wb") as full:
        code, _ = deblur_piped("video", "-", "-o", "-", *none(network), stdin=WHOLE, stdout=full.fileno())
    assert code == 5
    assert "stdout cannot be written: no space left on device" in capfd.readouterr().err


@POSIX
def test_a_terminal_is_no_place_for_a_video(network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    leader, terminal = os.openpty()
    try:
        code, _ = deblur_piped("video", "-", "-o", "-", *none(network), stdin=WHOLE, stdout=terminal)
    finally:
        os.close(terminal)
        os.close(leader)
    assert code == 2
    assert "stdout is a terminal; pipe it into a program, or give -o FILE" in capfd.readouterr().err


@POSIX
def test_a_reader_that_is_gone_ends_it_quietly(
    tmp_path: Path, network: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        code, _ = deblur_piped("video", "-", "-o", "-", *none(network), stdin=WHOLE, stdout=writing)
    finally:
        os.close(writing)
    assert code == 141
    assert "Traceback" not in capfd.readouterr().err


@POSIX
def test_what_waits_for_a_pipe_can_be_ended(network: Path) -> None:
    """Nobody writes any more, and nobody reads: SIGTERM still ends it, with its code."""
    words = [sys.executable, "-m", "deblurcli", "video", "-", "-o", "-", *map(str, none(network))]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.write(WHOLE)
    process.stdin.flush()
    assert process.stdout.read(20).startswith(b"YUV4MPEG2")
    time.sleep(0.5)
    process.terminate()
    assert process.wait(60) == 143
    said = process.stderr.read().decode()
    assert said.splitlines()[-1] == "deblur: terminated; run the same command again"
    assert "Traceback" not in said and "ignored" not in said


@needs_ffmpeg
@POSIX
def test_between_two_programs_it_gives_the_frames_of_the_file_route(tmp_path: Path, network: Path) -> None:
    """ffmpeg ... | deblur video - -o - | ffmpeg ..."""
    made, out, route = tmp_path / "in.y4m", tmp_path / "piped.mkv", tmp_path / "route.nut"
    quiet, words = "ffmpeg -v error -y", " ".join(map(str, none(network)))
    source = "-f lavfi -i testsrc2=s=96x64:r=30000/1001:d=0.4 -pix_fmt yuv420p"
    command = (
        f"set -e -o pipefail; {quiet} {source} -f yuv4mpegpipe - | tee {made}"
        f" | {sys.executable} -m deblurcli video - -o - {words} | {quiet} -i - -c:v ffv1 {out}"
    )
    ended = subprocess.run(["bash", "-c", command], capture_output=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, b""), ended.stderr
    assert b"stdout as y4m" in ended.stderr
    api.deblur_video(made, route, method="none", network=network, dtype="fp32")
    assert read_planes(out) == read_planes(route)
    with av.open(str(out)) as container:
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_goes_through_a_pipe(tmp_path: Path, suffix: str) -> None:
    cv2.imwrite(str(tmp_path / f"in{suffix}"), moving(1)[0])
    content = (tmp_path / f"in{suffix}").read_bytes()
    code, out = deblur_piped("image", "-", "-o", "-", "-q", stdin=content)
    assert (code, out[:8]) == (0, b"\x89PNG\r\n\x1a\n")
    api.deblur_image(tmp_path / f"in{suffix}", tmp_path / "out.png")
    wanted = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(cv2.imdecode(np.frombuffer(out, np.uint8), cv2.IMREAD_UNCHANGED), wanted)


def test_what_is_no_picture_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert deblur_piped("image", "-", "-o", "-", stdin=b"xyz") == (4, b"")
    assert "stdin is not an image that can be read" in capfd.readouterr().err


def test_what_a_killed_run_has_left_of_stdin_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that another run still has stays; so does what was put there by others."""
    temporary = tmp_path / "shared"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    for name in (".deblur-dead.part", ".other.part", "deblur-notes"):
        (temporary / name).mkdir()
        (temporary / name / "stdin").write_bytes(bytes(9))
    with pipes.folder_for("stdin") as mine:
        (mine / "stdin").write_bytes(bytes(9))
        with pipes.folder_for("stdout") as other:
            assert other != mine and (mine / "stdin").exists()
            names = sorted(path.name for path in temporary.iterdir())
            assert names == sorted([".other.part", "deblur-notes", mine.name, other.name])
    assert sorted(path.name for path in temporary.iterdir()) == [".other.part", "deblur-notes"]


def test_without_locks_nothing_is_taken_for_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deblurcli.files.fcntl", None)
    temporary = tmp_path / "shared"
    (temporary / ".deblur-perhaps.part").mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(temporary))
    with pipes.folder_for("stdin"):
        pass
    assert [path.name for path in temporary.iterdir()] == [".deblur-perhaps.part"]


def test_a_planned_picture_for_stdout_has_no_name_of_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((32, 48, 3), np.uint8))
    assert deblur("image", tmp_path / "a.png", "-o", "-", "--dry-run") == 0
    out, err = capfd.readouterr()
    told = out + err
    assert "stdout, a PNG" in told and "stdout.png" not in told and ".part" not in told
