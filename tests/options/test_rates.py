"""Frame rates: what stands for which fraction, what is none, and that every door says so in our words."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from end_to_end import deblur
from frame_folders import write_frames

from deblurcli import api
from deblurcli.errors import UsageError
from deblurcli.media.probe import probe
from deblurcli.options.compare import CompareOptions
from deblurcli.options.moments import FramesOptions
from deblurcli.options.rates import rate_of
from deblurcli.options.survey import SequenceOptions
from deblurcli.options.synth import SynthOptions
from deblurcli.options.video import VideoOptions

SAID = "is not a rate; give frames per second, such as 25, 29.97 or 30000/1001"


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        (25, (25, 1)),
        (np.int64(24), (24, 1)),
        ("50.", (50, 1)),
        (" 30000/1001 ", (30000, 1001)),
        ("29.97", (30000, 1001)),
        (29.97, (30000, 1001)),
        (23.976, (24000, 1001)),
        ("59.94", (60000, 1001)),
        ("2997/100", (2997, 100)),
        ("12.5", (25, 2)),
        (Fraction(1, 3), (1, 3)),
        ("1/3600", (1, 3600)),
        ("0.0002", (1, 5000)),
    ],
)
def test_what_stands_for_a_rate(given: Any, rate: tuple[int, int]) -> None:
    assert rate_of(given) == Fraction(*rate)
    assert VideoOptions(fps=given).fps == Fraction(*rate)


@pytest.mark.parametrize("given", ["abc", "1/0", "25/", "1/2/3", "nan", "1e9", "25 fps", float("inf"), float("nan")])
def test_what_is_none_is_said_at_every_door(given: Any) -> None:
    doors: list[Any] = [VideoOptions, CompareOptions, FramesOptions, SequenceOptions]
    for door in doors:
        with pytest.raises(UsageError) as caught:
            door(fps=given)
        assert str(caught.value) == f"--fps {given} {SAID}"
    with pytest.raises(UsageError, match=r"--rate .* is not a rate"):
        SynthOptions(rate=given)
    with pytest.raises(UsageError, match=r"--fps .* is not a rate"):
        api.inspect("frames", fps=given)


@pytest.mark.parametrize("given", ["0", "-5", "0/7", -1, "1001"])
def test_what_is_out_of_range(given: Any) -> None:
    with pytest.raises(UsageError) as caught:
        VideoOptions(fps=given)
    assert str(caught.value) == f"--fps {rate_of(given)} is out of range; give above 0, at most 1000"


def test_the_command_and_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_frames(tmp_path / "frames", 3)
    words = ["video", "frames", "--method", "none", "--quality", "fast", "-q", "-o"]
    assert deblur(*words, "a.mkv", "--fps", "24000/1001") == 0
    monkeypatch.setenv("DEBLUR_FPS", "30000/1001")
    assert deblur(*words, "b.mkv") == 0
    monkeypatch.delenv("DEBLUR_FPS")
    Path("deblur.toml").write_text("[video]\nfps = '15/2'\n")
    assert deblur(*words, "c.mkv") == 0
    Path("deblur.toml").write_text("[video]\nfps = 12.5\n")
    assert deblur(*words, "d.mkv") == 0
    rates = [probe(Path(f"{name}.mkv")).video.rate for name in "abcd"]
    assert rates == [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(15, 2), Fraction(25, 2)]
    capfd.readouterr()
    for text in ("abc", "1/0"):
        Path("deblur.toml").write_text(f"[video]\nfps = '{text}'\n")
        assert deblur(*words, "e.mkv") == 2
        assert capfd.readouterr().err == f"deblur: --fps {text} {SAID}\n"
    Path("deblur.toml").unlink()
    for flag, text, said in (
        ("--fps", "abc", f"--fps abc {SAID}"),
        ("--fps", "-5", "--fps -5 is out of range; give above 0, at most 1000"),
        ("--crf", "abc", "--crf abc is not a number; give a number"),
        ("--lucky-frames", "1.5", "--lucky-frames 1.5 is not a whole number; give a whole number"),
    ):
        assert deblur(*words, "e.mkv", flag, text) == 2
        assert capfd.readouterr().err == f"deblur: {said}\n"
    assert not Path("e.mkv").exists()
