"""Promise 9: an adaptation that diverges or does not help is undone; broken frames are replaced, counted and told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clips import read_planes
from end_to_end import QUICK, deblur, pan, shaken_video, small_network, write_video

LOSSLESS = ["--codec", "ffv1", "--dtype", "fp32"]


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The record of the one file that was restored with ``--log json``."""
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    (found,) = (line for line in lines if line["type"] == "summary")
    return found


@pytest.mark.parametrize("options", [["--rate", "0.9"], ["--rate", "0.05", "--guard", "pairs"]])
def test_an_adaptation_that_diverges_is_undone(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The frames are those of the network as it was."""
    source = shaken_video(tmp_path / "in.mkv")
    meta = ["--method", "meta", "--patches", "6", "--patch-size", "64", "--initial", "own", *options]
    assert deblur("video", source, "-o", tmp_path / "plain.mkv", "--method", "none", *LOSSLESS, "-q") == 0
    capsys.readouterr()
    assert deblur("video", source, "-o", tmp_path / "meta.mkv", *meta, *LOSSLESS, "--log", "json") == 0
    (adaptation,) = result(capsys)["adaptations"]
    assert not adaptation["kept"] and adaptation["reason"]
    assert read_planes(tmp_path / "meta.mkv") == read_planes(tmp_path / "plain.mkv")


def test_nothing_is_adapted_to_a_video_that_no_camera_explains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A still picture has no blur of its own to learn; nothing is saved either, which the exit code tells."""
    source, saved = write_video(tmp_path / "in.mkv", pan(3, 1) * 6), tmp_path / "adapted.safetensors"
    assert deblur("video", source, "-o", tmp_path / "plain.mkv", "--method", "none", *LOSSLESS, "-q") == 0
    capsys.readouterr()
    words = ["--save-adapted", saved, *QUICK, "--log", "json"]
    assert deblur("video", source, "-o", tmp_path / "meta.mkv", *LOSSLESS, *words) == 3
    told = result(capsys)
    assert not told["adaptations"][0]["kept"] and not saved.exists()
    assert any("was not written" in difference for difference in told["differences"])
    assert read_planes(tmp_path / "meta.mkv") == read_planes(tmp_path / "plain.mkv")


def test_steps_at_test_time_that_diverge_are_undone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_video(tmp_path / "in.mkv", pan(1, 4))
    words = ["--network", "plain-unet", *LOSSLESS]
    assert deblur("video", source, "-o", tmp_path / "plain.mkv", "--method", "none", *words, "-q") == 0
    capsys.readouterr()
    options = ["--method", "tta", "--rate", "0.5", "--steps", "3", "--log", "json"]
    assert deblur("video", source, "-o", tmp_path / "tta.mkv", *words, *options) == 0
    assert not result(capsys)["adaptations"][0]["kept"]
    assert read_planes(tmp_path / "tta.mkv") == read_planes(tmp_path / "plain.mkv")


def test_broken_frames_are_replaced_by_the_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network that adds half of the range to every sample."""
    source = write_video(tmp_path / "in.mkv", pan(1, 5))
    network = small_network(tmp_path / "absurd.safetensors", change=0.5)
    words = ["--method", "none", "--codec", "ffv1", "--network", network]
    assert deblur("video", source, "-o", tmp_path / "out.mkv", *words) == 3
    assert "5 frames came out broken; the input frames were written instead" in capsys.readouterr().err
    assert read_planes(tmp_path / "out.mkv") == read_planes(source)
    network = small_network(tmp_path / "slight.safetensors", change=0.1)
    assert deblur("video", source, "-o", tmp_path / "brighter.mkv", *words[:-1], network) == 0
    assert read_planes(tmp_path / "brighter.mkv") != read_planes(source)
