"""What probe finds, and what it refuses, in one line each."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import cut_tail, make_clip

from deblurcli.errors import InputError
from deblurcli.media import probe as probing
from deblurcli.media.probe import probe


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        probe(path)
    message = str(caught.value)
    assert "\n" not in message and "; " in message
    return message


def test_describes_a_full_file(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "a.mkv",
        codec="libx264",
        audio=True,
        subtitles=True,
        chapters=True,
        cover=True,
        attachment=True,
        tags={"title": "Übung"},
        sar=Fraction(4, 3),
        rotation=90,
        colour=(9, 16, 9, 1),
        pix_fmt="yuv420p10le",
    )
    info = probe(clip)
    video = info.video
    assert (video.width, video.height, video.pix_fmt, video.depth) == (64, 48, "yuv420p10le", 10)
    assert video.sample_aspect_ratio == Fraction(4, 3)
    assert video.rotation == 90
    assert video.rate == 25
    assert video.duration == Fraction(12, 25)
    assert video.language == "deu"
    assert (video.colour.matrix, video.colour.full_range, video.colour.guessed) == ("bt2020", False, False)
    assert (video.colour.primaries_tag, video.colour.transfer_tag) == (9, 16)
    assert [(o.kind, o.attached_picture) for o in info.others] == [
        ("audio", False),
        ("subtitle", False),
        ("attachment", False),
        ("video", True),
    ]
    assert len(info.chapters) == 2
    assert info.tags["title"] == "Übung"


def test_chapter_track_of_mp4_is_not_a_stream(tmp_path: Path) -> None:
    info = probe(make_clip(tmp_path / "a.mp4", codec="libx264", chapters=True))
    assert len(info.chapters) == 2
    assert info.others == ()


@pytest.mark.parametrize(
    ("size", "pix_fmt", "colour", "expected"),
    [
        ((64, 48), "yuv420p", None, ("bt601", False, True)),
        ((64, 48), "yuv420p", (1, 1, 1, 1), ("bt709", False, False)),
        ((1024, 720), "yuv420p", None, ("bt709", False, True)),
        ((720, 576), "yuv420p", None, ("bt601", False, True)),
        ((64, 48), "yuv420p", (2, 2, 2, 2), ("bt601", True, True)),
        ((64, 48), "bgr0", None, ("rgb", True, False)),
    ],
)
def test_colour_is_read_or_guessed_by_height(tmp_path: Path, size, pix_fmt, colour, expected) -> None:
    found = probe(make_clip(tmp_path / "a.mkv", size=size, pix_fmt=pix_fmt, colour=colour, frames=1)).video.colour
    assert (found.matrix, found.full_range, found.guessed) == expected


def test_refuses_what_is_not_there(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.mp4")
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "empty.mp4").touch()
    assert "empty (0 bytes)" in refusal(tmp_path / "empty.mp4")
    assert "not a regular file" in refusal(Path("/dev/null"))


@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4", "notes.nfo"])
def test_refuses_text(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("just words, no pictures\n" * 50)
    assert "text" in refusal(tmp_path / name)


def test_refuses_noise_and_references_to_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(range(256)) * 40)
    assert "not a video" in refusal(tmp_path / "a.mp4")
    clip = make_clip(tmp_path / "real.ts", codec="libx264", crf=20)
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{clip}'\n")
    refusal(tmp_path / "list.mp4")
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n")
    refusal(tmp_path / "list.m3u8")


def test_refuses_a_picture(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    assert "is a picture" in refusal(tmp_path / "a.png")


def test_refuses_audio_only(tmp_path: Path) -> None:
    import av
    import numpy as np

    with av.open(str(tmp_path / "a.wav"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=48000)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), format="s16", layout="stereo")
        block.sample_rate = 48000
        out.mux(stream.encode(block))
    assert "no video stream, only audio" in refusal(tmp_path / "a.wav")


def test_refuses_mp4_without_index(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", codec="libx264", noise=True)
    message = refusal(cut_tail(clip, 0.5, tmp_path / "cut.mp4"))
    assert "truncated" in message and "moov" in message


def test_refuses_more_pixels_than_the_ceiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "a.mkv")
    monkeypatch.setattr(probing, "MAX_PIXELS", 64 * 48 - 1)
    assert "64x48 pixels" in refusal(clip)


@pytest.mark.parametrize(
    "name", ["a b'\"c.mkv", "-dash.mkv", "clip 🎬.mkv", "x" * 251 + ".mkv", "http:x.mkv", "%03d.mkv"]
)
def test_any_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(tmp_path / "plain.mkv").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert probe(Path(name)).video.width == 64


def test_probing_needs_no_torch() -> None:
    code = "import sys, deblurcli.media.probe, deblurcli.media.reader, deblurcli.media.writer, deblurcli.media.images\n"
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True)


def test_bare_motion_jpeg_is_a_video(tmp_path):
    """JPEG files one after the other; their first bytes are those of a picture."""
    rng = np.random.default_rng(1)
    frames = [cv2.imencode(".jpg", rng.integers(0, 255, (48, 64, 3)).astype(np.uint8))[1].tobytes() for _ in range(30)]
    (tmp_path / "bare.mjpeg").write_bytes(b"".join(frames))
    info = probe(tmp_path / "bare.mjpeg")
    assert (info.container, info.video.codec, info.video.width) == ("mjpeg", "mjpeg", 64)
    (tmp_path / "text.mjpeg").write_text("no pictures at all\n" * 50)
    with pytest.raises(InputError):
        probe(tmp_path / "text.mjpeg")
