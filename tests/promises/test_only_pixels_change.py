"""Promise 3: only pixels change; times, streams, tags, shape, colour and depth stay, or it is told."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import make_clip, packet_hashes, read_planes, read_times
from end_to_end import QUICK, deblur, small_network


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything at once that a clip may hold besides plain pixels at a constant rate."""
    return make_clip(
        tmp_path_factory.mktemp("clip") / "in.mkv",
        codec="libx264",
        pix_fmt="yuv420p10le",
        size=(80, 64),
        frames=10,
        time_base=Fraction(1, 1000),
        pts=[0, 40, 80, 130, 170, 260, 300, 340, 395, 440],
        audio=True,
        subtitles=True,
        chapters=True,
        attachment=True,
        tags={"title": "Ein Titel"},
        rotation=90,
        sar=Fraction(4, 3),
        colour=(9, 16, 9, 1),
    )


def facts(path: Path) -> dict[str, object]:
    """What a file holds besides pixels."""
    with av.open(path) as container:
        video = container.streams.video[0]
        context = video.codec_context
        frame = next(container.decode(video))
        colour = (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range)
        return {
            "tags": {k: v for k, v in container.metadata.items() if k not in ("encoder", "ENCODER")},
            "chapters": [(c["start"], c["end"], c["metadata"]) for c in container.chapters()],
            "language": video.metadata.get("language"),
            "shape": (context.width, context.height, context.sample_aspect_ratio),
            "format": context.format.name,
            "rotation": frame.rotation,
            "colour": colour,
            "streams": [s.type for s in container.streams],
            "times": read_times(path),
            **{kind: packet_hashes(path, kind) for kind in ("audio", "subtitle")},
        }


@pytest.mark.parametrize("method", ["none", "meta", "tta"])
def test_everything_but_the_pixels_stays(
    clip: Path, tmp_path: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mkv"
    options = QUICK if method == "meta" else []
    assert deblur("video", clip, "-o", out, "--method", method, *options) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert facts(out) == facts(clip) and facts(clip)["rotation"] and facts(clip)["audio"] and facts(clip)["subtitle"]
    assert read_planes(out) != read_planes(clip)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "gbrp10le"])
def test_a_network_that_changes_nothing_gives_the_same_bits(tmp_path: Path, pix_fmt: str) -> None:
    source = make_clip(tmp_path / "in.mkv", pix_fmt=pix_fmt, size=(70, 50), frames=5)
    network = small_network(tmp_path / "zero.safetensors")
    words = ["-o", tmp_path / "out.mkv", "--method", "none", "--network", network, "-q"]
    assert deblur("video", source, *words) == 0
    assert read_planes(tmp_path / "out.mkv") == read_planes(source)


def test_what_cannot_be_kept_is_told(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """MP4 has no place for attached fonts: the exit code and a line say so, the rest is there."""
    out = tmp_path / "out.mp4"
    assert deblur("video", clip, "-o", out, "--method", "none", "-q") == 3
    stdout, stderr = capsys.readouterr()
    assert stdout == f"{out}\n" and "attachment" in stderr
    assert read_times(out) == read_times(clip) and packet_hashes(out, "audio") == packet_hashes(clip, "audio")


def test_images_keep_depth_alpha_and_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    smooth = cv2.resize(rng.integers(0, 65535, (9, 13, 4), np.uint16), (101, 67), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "deep.png"), smooth)
    cv2.imwrite(str(tmp_path / "tiny.png"), smooth[:1, :1, :3] >> 8)
    cv2.imwrite(str(tmp_path / "grey.jpg"), (smooth[..., 0] >> 8).astype(np.uint8))
    assert deblur("image", tmp_path / "*.*g", "-o", f"{tmp_path / 'out'}/", "-q") == 0
    deep = cv2.imread(str(tmp_path / "out" / "deep.png"), cv2.IMREAD_UNCHANGED)
    assert deep.shape == smooth.shape and deep.dtype == np.uint16
    assert np.array_equal(deep[..., 3], smooth[..., 3]) and not np.array_equal(deep, smooth)
    assert cv2.imread(str(tmp_path / "out" / "grey.jpg"), cv2.IMREAD_UNCHANGED).shape == (67, 101)
    assert (tmp_path / "out" / "tiny.png").exists()
