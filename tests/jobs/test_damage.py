"""Commands that only read a video say what is wrong with it, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from clips import cut_tail, make_clip
from end_to_end import deblur, small_network

from deblurcli import api


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A sound clip, and a copy of it that was cut."""
    folder = tmp_path_factory.mktemp("clips")
    whole = make_clip(folder / "whole.mkv", size=(128, 96), frames=16, noise=True)
    return whole, cut_tail(whole, 0.6, folder / "cut.mkv")


def test_metrics_say_it(clips: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    whole, cut = clips
    assert deblur("metrics", whole, "--format", "json") == 0
    assert "damage" not in json.loads(capsys.readouterr().out)["items"][0]
    assert deblur("metrics", cut, "--format", "json") == 3
    out, err = capsys.readouterr()
    (item,) = json.loads(out)["items"]
    assert item["damage"] and all(line.startswith("cut.mkv: ") and line in err for line in item["damage"])
    assert "it was cut" in err and item["frames"] < 16
    for form in ("table", "csv"):
        assert deblur("metrics", cut, cut, "--lpips", "off", "--format", form) == 3
        out, err = capsys.readouterr()
        assert "it was cut" in err and "it was cut" not in out
    assert api.measure(cut)["damage"] == item["damage"]


def test_pairs_say_it(clips: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for clip, code in zip(clips, (0, 3), strict=True):
        assert deblur("synth", clip, "-o", tmp_path) == code
        assert ("it was cut" in capsys.readouterr().err) == bool(code)
        assert (tmp_path / "blurred" / clip.name).exists() and (tmp_path / "sharp" / clip.name).exists()


def test_a_copied_packet_whose_time_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole command: it is told, and the code is that of differences."""
    clip = make_clip(tmp_path / "a.mkv", codec="libx264", crf=24, audio=True, frames=12)
    data = bytearray(clip.read_bytes())
    begin = data.index(b"\x1f\x43\xb6\x75")
    blocks = [at for at in range(begin, len(data) - 8) if data[at] == 0xA3 and data[at + 3] == 0x82]
    data[blocks[4] + 4 : blocks[4] + 6] = data[blocks[3] + 4 : blocks[3] + 6]
    clip.write_bytes(data)
    network = small_network(tmp_path / "zero.safetensors")
    words = ["video", clip, "-o", tmp_path / "out.mp4", "--method", "none", "--network", network, "--tile", "off"]
    assert deblur(*words, "--device", "cpu") == 3
    said = capsys.readouterr().err
    assert "1 packets of stream 1 had no time, or one that repeats or steps back; they were moved by a tick" in said
    assert api.measure(tmp_path / "out.mp4")["frames"] == 12
